"""Choices that several pages offer, kept in the URL so that a copied link restores them.

Streamlit's own binding writes an option as it is shown; runs and clusters are shown by names
that people change, so `one` and `many` write their ids instead.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import streamlit as st
from streamlit.typing import DataframeState

from core.specs.behaviors import SCORE_NAMES, Behavior
from core.specs.project import Project
from core.specs.steps import DiscoverSpec, RankSpec
from pages.components import cache, jobs, plan, rates, text

T = TypeVar("T", str, int)


def choose_one(label: str, options: Sequence[T], shown: Callable[[T], str], *, key: str) -> T:
    """One of the options, by id in the URL; the first one is the default and is not written."""
    linked = [option for option in options if str(option) == st.query_params.get(key)]
    if key not in st.session_state and linked:
        st.session_state[key] = linked[0]
    meant = _meant(key, {shown(option): option for option in options}, [st.session_state.get(key)])
    if meant:
        st.session_state[key] = meant[0]
    chosen = st.selectbox(label, options, format_func=shown, key=key)
    _remember(key, [] if chosen == options[0] else [chosen])
    return chosen


def choose_many(
    label: str, options: Sequence[T], shown: Callable[[T], str], *, key: str
) -> list[T]:
    """Any of the options, by id in the URL."""
    linked = [option for option in options if str(option) in st.query_params.get_all(key)]
    if key not in st.session_state and linked:
        st.session_state[key] = linked
    said = st.session_state.get(key, [])
    meant = _meant(key, {shown(option): option for option in options}, said)
    if meant is not None:
        st.session_state[key] = meant
    chosen = st.multiselect(label, options, format_func=shown, key=key)
    _remember(key, chosen)
    return chosen


def clicked_row(event: DataframeState, n: int) -> int:
    """The row that was clicked in a table of n rows; the first one if none was, or it is gone."""
    picked = [number for number in event.selection.rows if number < n]
    return picked[0] if picked else 0


def _meant(key: str, labels: dict[str, T], said: Sequence[T | str | None]) -> list[T] | None:
    """The options that a browser meant, where it has to be told; None where it knows them.

    It knows a choice by its label, and would fall back to the first option after a rename. What
    it sent before it saw the new labels comes later still, and names an option as it was called.
    """
    ever, before = st.session_state.get(f"{key}-labels", ({}, labels))
    ever = ever | labels
    st.session_state[f"{key}-labels"] = (ever, labels)
    options = list(labels.values())
    meant = [one if one in options else ever.get(one) for one in said]
    if before == labels and meant == list(said):
        return None
    return [one for one in meant if one in options] or None


def _remember(key: str, chosen: Sequence[T]) -> None:
    if chosen:
        st.query_params[key] = [str(option) for option in chosen]
    elif key in st.query_params:
        del st.query_params[key]


def behavior(project: Project, *, traced: bool = False) -> Behavior:
    """One behavior of the project; with `traced`, the unwanted ones only."""
    options = plan.unwanted(project) if traced else list(project.behaviors)
    names = [one.name for one in options]
    name = st.selectbox(
        "Behavior", names, key="behavior", bind="query-params", help="What is measured, and where."
    )
    chosen = project.behavior(name or names[0])
    st.caption(_said(chosen))
    return chosen


def ranking(project: Project, chosen: Behavior) -> str | None:
    """A finished rank run for a behavior; where there is none, offer to make one."""
    known = {run: spec for run, spec in cache.specs(RankSpec).items() if spec.behavior == chosen}
    finished = [run for run in known if cache.store().state(run) == "finished"]
    planned = project.rank(*_inputs(project), chosen)
    default = cache.store().run_id(planned)
    options = sorted(finished, key=lambda run: run != default)
    if not options:
        return _offer_ranking(planned)
    run = options[0]
    if len(options) > 1:
        run = st.selectbox(
            "Ranking",
            options,
            format_func=lambda run: (
                f"layer {known[run].layer or 'chosen'}, {SCORE_NAMES[known[run].method]} · {run}"
            ),
            key="ranking",
            bind="query-params",
        )
    plan.warn_if_outdated(known[run], planned, project, "Rank the pairs again")
    return run


def discovery(project: Project) -> str | None:
    """A finished discover run; where there is none, offer to make one."""
    finished = cache.store().finished("discover")
    planned = project.discover(*_inputs(project))
    default = cache.store().run_id(planned)
    known = cache.specs(DiscoverSpec)
    options = sorted(finished, key=lambda run: (run != default, known[run].recut is not None))
    if not options:
        st.info("There is no map yet. It needs both models' completions and the pairs' vectors.")
        jobs.panel(planned, "Draw the map")
        return None
    run = options[0]
    if len(options) > 1:
        run = choose_one("Map", options, lambda run: _map_name(run, known[run]), key="discover")
    plan.warn_if_outdated(known[run], planned, project, "Draw the map again")
    return run


def _map_name(run: str, spec: DiscoverSpec) -> str:
    kind = "gated" if spec.gated else "plain"
    if spec.level is not None:
        groups = cache.summary(run)["n_clusters"]
        return f"{kind}, cut into {groups} at the distance {spec.level:.3g} · {run}"
    size = spec.min_cluster_size
    return f"{kind}{f', islands of at least {size} pairs' if size else ''} · {run}"


def _offer_ranking(planned: RankSpec) -> None:
    st.info("These pairs are not ranked for this behavior yet.")
    jobs.panel(planned, "Rank the pairs")


def _inputs(project: Project) -> tuple[str, str]:
    store = cache.store()
    return store.run_id(project.generate()), store.run_id(project.index())


def _said(chosen: Behavior) -> str:
    where = "after a distractor" if chosen.condition == "distractor" else "on the plain prompt"
    kind = "wanted" if chosen.wanted else "unwanted"
    flag = rates.flag_words(chosen.flag)
    said = (
        f"Completions that the judge calls “{flag}”, on {chosen.group} prompts, {where} ({kind})."
    )
    return text.escape(f"{said} {chosen.description}")
