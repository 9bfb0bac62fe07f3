"""Forms of one cluster: its name, mark and notes; merging, splitting and moving pairs.

Every change is an event with who made it, when and why; all of them can be undone.
"""

from collections.abc import Callable

import numpy as np
import streamlit as st

from core.errors import UserError
from core.specs.events import Mark, Marking, Name
from core.specs.recipe_text import describe_recipe
from core.specs.recipes import AllOf, Contains, InCluster, Recipe, Where
from core.workspace.catalog import Catalog
from core.workspace.labels import Labels
from pages.components import cache, cart, pickers, region, selection, text
from pages.components.clusters import state

MARKS: tuple[Marking, ...] = ("harmful", "unwanted", "wanted", "ignore")
WHY = "why"
CONFLICT = "label-conflict"
WORDS = "Pairs with some words"
SOURCES = 12  # of a cluster, offered to be split off
REFUSED = "label-refused"


def show(run: str, cluster: int, labels: Labels, catalog: Catalog) -> None:
    """Forms for one cluster."""
    refused = st.session_state.pop(REFUSED, "")
    if refused:
        st.error(text.escape(refused))
    if conflict := st.session_state.pop(CONFLICT, ""):
        st.warning(text.escape(conflict))
    _name_and_mark(run, cluster, labels, catalog)
    with st.expander("Merge, split, move pairs", key="open-merge"):
        merge, split, move = st.tabs(["Merge", "Split", "Move pairs"])
        with merge:
            _merge(run, cluster, catalog)
        with split:
            _split(run, cluster, labels, catalog)
        with move:
            _move(run, cluster, catalog)


def offer_move(run: str, cluster: int, uid: str, catalog: Catalog) -> None:
    """Move one pair that is being read to another cluster, or out of all of them."""
    names = {-1: state.NOISE} | state.names(run)
    others = [other for other in names if other != cluster]
    left, right = st.columns([5, 2], vertical_alignment="bottom")
    target = left.selectbox(
        "This pair belongs elsewhere",
        others,
        format_func=lambda other: text.short(names[other], 70),
        key=f"move-{cluster}-{uid}",
    )
    if right.button("Move the pair", key=f"move-now-{cluster}-{uid}", width="stretch"):
        recipe = Where(column="uid", values=(uid,))
        catalog.assign(run, target, recipe, who=cart.who(), why=_why())
        st.rerun()


def _name_and_mark(run: str, cluster: int, labels: Labels, catalog: Catalog) -> None:
    """Fields that are written when they change. Their keys follow the log, so that they show what
    others changed meanwhile; what was typed is written first, whatever the log says by then."""

    def rename() -> None:
        typed, there = str(st.session_state[key]), catalog.state().of(run).names.get(cluster, "")
        if typed.strip() != there:  # may be sent twice
            catalog.rename(run, cluster, typed, who=cart.who(), why=_why())
            _tell_conflict("named it", name, there, catalog)

    def mark() -> None:
        there = catalog.state().of(run).marks.get(cluster)
        catalog.mark(run, cluster, st.session_state[mark_key], who=cart.who(), why=_why())
        _tell_conflict("marked it", marked, there, catalog)

    def note() -> None:
        if written := str(st.session_state[note_key]).strip():
            catalog.note(run, cluster, written, who=cart.who(), why=_why())

    columns = st.columns([4, 3, 4, 4])
    name, marked = labels.names.get(cluster, ""), labels.marks.get(cluster)
    options = [None, *MARKS]
    key, mark_key = f"name-{cluster}-{name}", f"mark-{cluster}-{marked}"
    note_key = f"note-{cluster}-{len(labels.notes.get(cluster, ()))}"
    columns[0].text_input("Name", name, max_chars=80, key=key, on_change=_attempt, args=(rename,))
    columns[1].selectbox(
        "Mark", options, index=options.index(marked), format_func=lambda option: option or "none",
        key=mark_key, help="What should become of these pairs. Alarms follow the marks.",
        on_change=_attempt, args=(mark,),
    )  # fmt: skip
    columns[2].text_input("Add a note", key=note_key, on_change=_attempt, args=(note,))
    columns[3].text_input(
        "Why, for the log", key=WHY, placeholder="goes with your next changes",
        help="Kept in the history beside who changed what, and when.",
    )  # fmt: skip


def _tell_conflict(what: str, shown: str | None, there: str | None, catalog: Catalog) -> None:
    """Say that what this change replaced is not what was on the page, and how to get it back."""
    if there != shown:
        *before, _ = catalog.events()
        other = next(e.who for e in reversed(before) if isinstance(e.change, Name | Mark))
        st.session_state[CONFLICT] = (
            f"Meanwhile {other} {what} “{there or 'nothing'}”. Yours replaced that; Undo my last "
            "change, under History, brings it back."
        )


def _attempt(change: Callable[[], None]) -> None:
    """Make a change from a callback; a refusal is shown where the page draws its fields."""
    try:
        change()
    except UserError as error:
        st.session_state[REFUSED] = str(error)


def _merge(run: str, cluster: int, catalog: Catalog) -> None:
    names = state.names(run)
    chosen = st.multiselect(
        "Clusters to make part of this one",
        [other for other in names if other != cluster],
        format_func=lambda other: text.short(names[other], 70),
        key=f"merge-{cluster}",
    )
    if st.button("Merge", disabled=not chosen, key=f"merge-now-{cluster}"):
        catalog.merge(run, cluster, chosen, who=cart.who(), why=_why())
        st.rerun()


def _split(run: str, cluster: int, labels: Labels, catalog: Catalog) -> None:
    """Split pairs off: a selection, a dense group, a source, or those with some words."""
    parts = _parts(run, catalog) | _hdbscan_clusters(run, cluster) | _sources(labels, cluster)
    part, field, button = st.columns([4, 3, 2], vertical_alignment="bottom")
    chosen = part.selectbox("What to split off", [*parts, WORDS], key=f"split-{cluster}")
    split = parts.get(chosen) or _with_words(cluster)
    key = f"split-name-{cluster}-{len(state.names(run))}"  # empty again once there is one more
    name = field.text_input("Name of the new cluster", key=key, max_chars=80)
    every = selection.mask(labels.recipe(cluster))
    inside = every & selection.mask(split) if split else np.zeros_like(every)
    n, total = int(inside.sum()), int(every.sum())
    if split:
        st.caption(f"{n:,} of {total:,} pairs would be split off; {total - n:,} stay.")
    proper = 0 < n < total
    if (
        button.button("Split", key=f"split-now-{cluster}", disabled=not (name.strip() and proper))
        and split
    ):
        recipe = AllOf(parts=(labels.recipe(cluster), split))
        made = catalog.assign(run, None, recipe, who=cart.who(), why=_why() or name)
        catalog.rename(run, made.change.cluster, name, who=cart.who(), why=_why())
        st.rerun()


def _sources(labels: Labels, cluster: int) -> dict[str, Recipe]:
    """The sources of a cluster's pairs, the largest first, where there are several."""
    counts = selection.sources(selection.mask(labels.recipe(cluster))).head(SOURCES)
    if len(counts) < 2:
        return {}
    return {
        f"Source {text.short(row.source)}: {row.pairs:,} pairs": Where(
            column="source", values=(row.source,)
        )
        for row in counts.itertuples()
    }


def _with_words(cluster: int) -> Recipe | None:
    """The pairs whose prompt or completion contains words that are typed; None before."""
    left, right = st.columns([1, 3])
    column = left.selectbox("In", pickers.TEXTS, key=f"split-in-{cluster}")
    phrase = right.text_input("Words", key=f"split-words-{cluster}", max_chars=200)
    return Contains(column=column, phrase=phrase) if phrase else None


def _move(run: str, cluster: int, catalog: Catalog) -> None:
    parts = _parts(run, catalog)
    if not parts:
        st.caption("Draw a region on the map, or save a selection there: it can be moved in here.")
        return
    part, button = st.columns([4, 1], vertical_alignment="bottom")
    chosen = part.selectbox("Pairs to move into this cluster", list(parts), key=f"in-{cluster}")
    if button.button("Move in", key=f"in-now-{cluster}", width="stretch"):
        catalog.assign(run, cluster, parts[chosen], who=cart.who(), why=_why())
        st.rerun()


def _parts(run: str, catalog: Catalog) -> dict[str, Recipe]:
    """The region on the map and the saved selections, by what they are called here."""
    drawn, behaviors = region.drawn(run), cache.ranked_behaviors()
    parts: dict[str, Recipe] = {"the region drawn on the map": drawn} if drawn else {}
    return parts | {
        text.short(f"“{name}”: {describe_recipe(recipe, behaviors)}"): recipe
        for name, recipe in catalog.state().selections.items()
    }


def _hdbscan_clusters(run: str, cluster: int) -> dict[str, Recipe]:
    """Dense groups on the map that a cluster is made of, where there are several."""
    inside = (cache.map_points(run)["cluster"] == cluster).to_numpy()
    return {
        f"HDBSCAN cluster {number}: {size:,} pairs": InCluster(
            discover=run, clusters=(int(number),), level="island"
        )
        for number, size in state.hdbscan_sizes(run, inside).items()
    }


def _why() -> str:
    return str(st.session_state.get(WHY, ""))
