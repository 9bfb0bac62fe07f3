"""Choices that several pages offer, kept in the URL so that a copied link restores them.

Streamlit's own binding writes an option's label. People rename runs and clusters, so `choose_one`
writes ids instead.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.typing import DataframeState

from core.data.conditions import in_words
from core.specs.behaviors import SCORE_NAMES, Behavior
from core.specs.project import Project
from core.specs.recipes import AnyOf, BestWords, Contains, Matches, Recipe
from core.specs.steps import DiscoverSpec, RankSpec
from pages.components import cache, jobs, plan, rates, text

T = TypeVar("T", str, int)

TEXTS = ("chosen", "rejected", "prompt")
ANYWHERE = "single-cell"  # what a table selects: a click anywhere in a row, also by arrow keys
SEARCHES = ("phrase", "regex", "best words")
WAYS = ("phrase", *(f"{search} in {column}" for search in SEARCHES for column in TEXTS))
BEST = (50, 200, 1_000, 5_000, 20_000)  # pairs that match some words best
SEARCH_HELP = (
    "phrase: exactly these words, in any case · regex: a regular expression (RE2) · best words: "
    "the pairs that match the words best, by BM25"
)


def choose_one(
    label: str,
    options: Sequence[T],
    name: Callable[[T], str],
    *,
    key: str,
    widget: Callable[..., Any] = st.selectbox,
    **settings: Any,
) -> T:
    """One of the options, by id in the URL; the first one is the default and is not written."""
    asked = st.query_params.get(key)
    linked = [option for option in options if str(option) == asked]
    if key not in st.session_state:
        st.session_state[key] = (linked or options)[0]
        st.session_state[f"{key}-missing"] = asked if asked and not linked else None
    if missing := st.session_state.get(f"{key}-missing"):
        warn_missing(label, missing, name(st.session_state[key]))
    sent = st.session_state[key]
    st.session_state[key] = _meant(key, {name(option): option for option in options}, sent)
    choice: T = widget(label, options, format_func=name, key=key, **settings)
    _write_url(key, [] if choice == options[0] else [choice])
    return choice


def warn_missing(what: str, asked: str, shown: str) -> None:
    """Say that a link names what is not here, and what is shown in its place."""
    st.warning(
        text.escape(
            f"The link names the {what.lower()} “{text.short(asked)}”, which is not here (any "
            f"more). Shown is “{text.short(shown)}”."
        )
    )


def clicked_rows(event: DataframeState, n: int) -> list[int]:
    """Rows of a table of n rows that were clicked: in a cell or, where there is one, in a box."""
    selected = event["selection"]
    cells = [row for row, _ in selected.get("cells", ())]
    return [row for row in (*cells, *selected["rows"]) if row < n]


def clicked_row(event: DataframeState, n: int) -> int:
    """The row that was clicked; the first of the table if none was, or it is gone."""
    return next(iter(clicked_rows(event, n)), 0)


def page(place: DeltaGenerator, n: int, size: int, *, key: str = "page") -> slice:
    """The rows of one of the pages, `size` rows each, that n rows make; chosen in `place`."""
    last = max(1, -(-n // size))
    number = place.number_input(f"Page of {last:,}", 1, last, key=key)
    return slice(size * (number - 1), size * number)


def _meant(key: str, labels: dict[str, T], sent: T | str | None) -> T:
    """The option that a browser meant; the first one if it is gone.

    A browser knows a choice by its label, and would fall back to the first option after a rename.
    What it sent before it saw the new labels arrives later still, under an option's earlier label.
    The choice is sent back in every run: one that is interrupted may never reach the browser.
    """
    ever = st.session_state.get(f"{key}-labels", {}) | labels
    st.session_state[f"{key}-labels"] = ever
    options = list(labels.values())
    meant = sent if sent in options else ever.get(sent)
    return meant if meant in options else options[0]


def _write_url(key: str, choices: Sequence[T]) -> None:
    if choices:
        st.query_params[key] = [str(option) for option in choices]
    elif key in st.query_params:
        del st.query_params[key]


def containing(phrase: str) -> Recipe:
    """Pairs of which any text contains a phrase, whatever its case."""
    return AnyOf(parts=tuple(Contains(column=column, phrase=phrase) for column in TEXTS))


def search(field: DeltaGenerator, options: DeltaGenerator) -> Recipe | None:
    """Pairs by a phrase, a regular expression or words; None where nothing is searched for."""
    query = field.text_input("Search", key="phrase", bind="query-params", help=SEARCH_HELP)
    way = options.selectbox("as a", list(WAYS), key="how", bind="query-params")
    kind, _, column = str(way).partition(" in ")
    k = BEST[1]
    if kind == "best words":
        k = options.selectbox("How many pairs", list(BEST), 1, key="best", bind="query-params")
    if not query:
        return None
    if not column:
        return containing(query)
    if kind == "phrase":
        return Contains(column=column, phrase=query)
    if kind == "regex":
        return Matches(column=column, pattern=query)
    return BestWords(column=column, query=query, k=k)


def behavior(project: Project, *, traced: bool = False) -> Behavior:
    """One behavior of the project; with `traced`, the unwanted ones only."""
    if not project.contrasts:
        require_behaviors(project)
    options = plan.unwanted(project) if traced else project.traceable()
    if not options:
        st.info("Every behavior of this project is wanted: there is none to trace.")
        st.stop()
    names, asked = [option.name for option in options], st.query_params.get("behavior")
    if "behavior" not in st.session_state:
        st.session_state["behavior-missing"] = asked if asked and asked not in names else None
    if missing := st.session_state.get("behavior-missing"):
        warn_missing("behavior", missing, names[0])
    name = st.selectbox(
        "Behavior", names, key="behavior", bind="query-params", help="What is measured, and where."
    )
    choice = project.behavior(name or names[0])
    contrast = project.contrast_named(choice.name)
    if contrast is not None:
        st.caption(text.escape(f"{contrast.source()}. {choice.description}"))
        return choice
    caption = (
        f"Completions that the judge calls “{rates.flag_words(choice.flag)}”, on {choice.group} "
        f"prompts, condition {choice.condition} ({in_words(choice.condition, project.conditions)}; "
        f"{'wanted' if choice.wanted else 'unwanted'}). {choice.description}"
    )
    st.caption(text.escape(caption))
    return choice


def require_behaviors(project: Project) -> None:
    """End the page here, with the reason, where a project measures nothing."""
    if not project.behaviors:
        reason = project.unmeasured()
        st.info(text.escape(reason[0].upper() + reason[1:]))
        st.page_link("clusters.py", label="Read the clusters of pairs")
        st.stop()


def ranking(project: Project, behavior: Behavior) -> str | None:
    """A finished rank run for a behavior; where there is none, offer to make one."""
    specs = {run: spec for run, spec in cache.specs(RankSpec).items() if spec.behavior == behavior}
    generate = plan.completions_of(project, behavior)
    completions, index = cache.store().run_id(generate), cache.store().run_id(project.index())
    planned = project.rank(completions, index, behavior)
    contrast = project.contrast_named(behavior.name)
    if contrast:  # what was written for it before is another behavior
        specs = {run: spec for run, spec in specs.items() if spec.generate == completions}
    default = cache.store().run_id(planned)
    finished = [run for run in specs if cache.store().state(run) == "finished"]
    if not finished:
        st.info("These pairs are not ranked for this behavior yet.")
        if contrast is None or jobs.panel(generate, "Collect the completions"):
            jobs.panel(planned, "Rank the pairs")
        return None
    options = sorted(finished, key=lambda run: run != default)
    run = options[0]
    if len(options) > 1:
        run = st.selectbox(
            "Ranking",
            options,
            format_func=lambda run: (
                f"layer {specs[run].layer or 'chosen'}, {SCORE_NAMES[specs[run].method]} · {run}"
            ),
            key="ranking",
            bind="query-params",
        )
    plan.warn_if_outdated(specs[run], planned, (generate, project.index()), "Rank the pairs again")
    return run


def discovery(project: Project) -> str | None:
    """A finished discover run; where there is none, offer to make one."""
    finished = cache.store().finished("discover")
    inputs = project.generate(), project.index()
    planned = project.discover(*map(cache.store().run_id, inputs))
    default = cache.store().run_id(planned)
    if not finished:
        st.info("There is no map yet. It needs both models' completions and the pairs' vectors.")
        jobs.panel(planned, "Draw the map")
        return None
    specs = cache.specs(DiscoverSpec)
    options = sorted(finished, key=lambda run: (run != default, specs[run].recut is not None))
    run = options[0]
    if len(options) > 1:
        run = choose_one("Map", options, lambda run: _map_name(run, specs[run]), key="discover")
    plan.warn_if_outdated(specs[run], planned, inputs, "Draw the map again")
    return run


def _map_name(run: str, spec: DiscoverSpec) -> str:
    matrix = "gated" if spec.gated else "plain"
    if spec.level is not None:
        n = cache.summary(run)["n_clusters"]
        return f"{matrix}, cut into {n} at the distance {spec.level:.3g} · {run}"
    size = spec.min_cluster_size
    return f"{matrix}{f', clusters of at least {size} pairs' if size else ''} · {run}"
