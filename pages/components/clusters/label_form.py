"""Saying something about a cluster: name, mark, note; merging, splitting and moving pairs.

Every change is an event with who made it, when and why; all of them can be undone.
"""

from collections.abc import Callable

import streamlit as st

from core.errors import UserError
from core.specs.events import Marking
from core.specs.recipes import AllOf, InCluster, Recipe, Where, describe_recipe
from core.workspace.catalog import Catalog
from core.workspace.labels import Labels
from pages.components import cache, cart
from pages.components import region as regions
from pages.components import text as plain_text
from pages.components.clusters import state

MARKS: tuple[Marking, ...] = ("harmful", "unwanted", "wanted", "ignore")
WHY = "why"
REFUSED = "label-refused"


def show(run: str, cluster: int, said: Labels, catalog: Catalog) -> None:
    """Forms for one cluster."""
    refused = st.session_state.pop(REFUSED, "")
    if refused:
        st.error(plain_text.escape(refused))
    _name_and_mark(run, cluster, said, catalog)
    with st.expander("Merge, split, move pairs", key="open-merge"):
        merge, split, move = st.tabs(["Merge", "Split", "Move pairs"])
        with merge:
            _merge(run, cluster, catalog)
        with split:
            _split(run, cluster, said, catalog)
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
        format_func=lambda one: plain_text.short(names[one], 70),
        key=f"move-{cluster}-{uid}",
    )
    if right.button("Move the pair", key=f"move-now-{cluster}-{uid}", width="stretch"):
        recipe = Where(column="uid", values=(uid,))
        catalog.assign(run, target, recipe, who=cart.who(), why=_why())
        st.rerun()


def _rename(run: str, cluster: int, typed: str, catalog: Catalog) -> None:
    """Give a name that it does not have yet: browsers may send what was typed twice."""
    if typed.strip() != catalog.state().of(run).names.get(cluster, ""):
        catalog.rename(run, cluster, typed, who=cart.who(), why=_why())


def _name_and_mark(run: str, cluster: int, said: Labels, catalog: Catalog) -> None:
    """Fields that are written when they change. Their keys follow what holds, so that they show
    what others said meanwhile; what was typed is written first, whatever holds by then."""
    name, mark, note, why = st.columns([4, 3, 4, 4])
    held, marked = said.names.get(cluster, ""), said.marks.get(cluster)
    key = f"name-{cluster}-{held}"
    name.text_input(
        "Name",
        held,
        max_chars=80,
        key=key,
        on_change=lambda: _written(lambda: _rename(run, cluster, st.session_state[key], catalog)),
    )
    options, mark_key = [None, *MARKS], f"mark-{cluster}-{marked}"
    mark.selectbox(
        "Mark",
        options,
        index=options.index(marked),
        format_func=lambda one: one or "none",
        key=mark_key,
        help="What should become of these pairs. Alarms follow the marks.",
        on_change=lambda: _written(
            lambda: catalog.mark(
                run, cluster, st.session_state[mark_key], who=cart.who(), why=_why()
            )
        ),
    )
    note_key = f"note-{cluster}-{len(said.notes.get(cluster, ()))}"
    note.text_input(
        "Add a note", key=note_key, on_change=lambda: _note(run, cluster, note_key, catalog)
    )
    why.text_input(
        "Why, for the log",
        key=WHY,
        placeholder="goes with your next changes",
        help="Kept in the history beside who changed what, and when.",
    )


def _note(run: str, cluster: int, key: str, catalog: Catalog) -> None:
    text = str(st.session_state[key])
    if text.strip():
        _written(lambda: catalog.note(run, cluster, text, who=cart.who(), why=_why()))


def _written(change: Callable[[], object]) -> None:
    """Make a change from a callback; what is refused is told where the page draws its fields."""
    try:
        change()
    except UserError as error:
        st.session_state[REFUSED] = str(error)


def _merge(run: str, cluster: int, catalog: Catalog) -> None:
    names = state.names(run)
    chosen = st.multiselect(
        "Clusters to make part of this one",
        [other for other in names if other != cluster],
        format_func=lambda one: plain_text.short(names[one], 70),
        key=f"merge-{cluster}",
    )
    if st.button("Merge", disabled=not chosen, key=f"merge-now-{cluster}"):
        catalog.merge(run, cluster, chosen, who=cart.who(), why=_why())
        st.rerun()


def _split(run: str, cluster: int, said: Labels, catalog: Catalog) -> None:
    parts = _parts(run, catalog) | _islands(run, cluster)
    if not parts:
        st.caption("Draw a region on the map, or save a selection there: it can be split off here.")
        return
    part, name, button = st.columns([4, 3, 2], vertical_alignment="bottom")
    chosen = part.selectbox("What to split off", list(parts), key=f"split-{cluster}")
    key = f"split-name-{cluster}-{len(state.names(run))}"  # empty again once there is one more
    given = name.text_input("Name of the new cluster", key=key, max_chars=80)
    if button.button("Split", key=f"split-now-{cluster}", disabled=not given.strip()):
        recipe = AllOf(parts=(said.recipe(cluster), parts[chosen]))
        made = catalog.assign(run, None, recipe, who=cart.who(), why=_why() or given)
        catalog.rename(run, made.change.cluster, given, who=cart.who(), why=_why())
        st.rerun()


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
    """Selections at hand, by what they are called here."""
    drawn = regions.drawn(run)
    region: dict[str, Recipe] = {"the region drawn on the map": drawn} if drawn else {}
    saved = catalog.state().selections
    behaviors = cache.ranked_behaviors()
    return region | {
        plain_text.short(f"“{name}”: {describe_recipe(recipe, behaviors)}"): recipe
        for name, recipe in saved.items()
    }


def _islands(run: str, cluster: int) -> dict[str, Recipe]:
    """Dense groups on the map that a cluster is made of, where there are several."""
    places = cache.map_points(run)
    if "island" not in places:
        return {}
    own = places.loc[(places["cluster"] == cluster) & (places["island"] >= 0), "island"]
    sizes = own.value_counts()
    if len(sizes) < 2:
        return {}
    return {
        f"island {island}: {size:,} pairs": InCluster(
            discover=run, clusters=(int(island),), level="island"
        )
        for island, size in sizes.items()
    }


def _why() -> str:
    return str(st.session_state.get(WHY, ""))
