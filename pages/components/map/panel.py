"""What is selected on the map, in words and numbers, and what can be done with it."""

from collections.abc import Mapping

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from streamlit.delta_generator import DeltaGenerator

from core.attribution.index.layout import VectorIndex
from core.attribution.similarity import nearest
from core.specs.events import Save
from core.specs.recipe_text import describe_recipe
from core.specs.recipes import Recipe, Where
from core.specs.steps import DiscoverSpec
from pages.components import cache, cart, selection, text, theme

LIKE = "like"  # of the session, and of the URL: the pair that others are like
NEAREST = 50  # pairs
LIKE_HELP = (
    f"Select the {NEAREST} nearest pairs: those with the most similar effect on the model (cosine "
    "of the vectors) in the most similar context (the gate)."
)
NO_CLUSTER = (
    "Share of these pairs that no cluster has: they push no prompts much more than others do, or "
    "too few pairs teach the same."
)


def show(run: str, recipe: Recipe | None, chosen: NDArray[np.bool_], members: NDArray) -> None:
    """What is selected: `chosen` of all pairs; `members` are the clusters of those on the map."""
    if recipe is None:
        st.info("Nothing is selected. Draw around a group, click a name, or choose on the left.")
    else:
        st.text(text.visible(describe_recipe(recipe, cache.ranked_behaviors())))
    if not chosen.any():
        st.warning("No pair satisfies all of these.")
        return
    columns = st.columns([2, 2, 3, 2])
    outside = f"{(members == -1).mean():.0%}" if len(members) else "–"
    columns[0].metric("Pairs", f"{chosen.sum():,}")
    columns[1].metric("Share of all", f"{chosen.mean():.1%}")
    columns[2].metric("Clusters touched", len(np.unique(members[members >= 0])))
    columns[3].metric("In no cluster", outside, help=NO_CLUSTER)
    if recipe is not None:
        _show_actions(run, recipe, int(chosen.sum()))


def _show_actions(run: str, recipe: Recipe, count: int) -> None:
    """Into the edit cart, under a name, or as a cluster."""
    cart.offer(recipe, count=count, key="map", why="from the map")
    row = st.container(horizontal=True, vertical_alignment="bottom")
    name = row.text_input(
        "Name", key="selection-name", max_chars=80,
        help="Save keeps the selection for later; Make a cluster lists it on Clusters.",
    )  # fmt: skip
    unnamed = not name.strip()
    if row.button("Save", disabled=unnamed, key="save"):
        cart.catalog().change(Save(name=name, recipe=recipe), who=cart.who())
        st.rerun()
    if row.button("Make a cluster", disabled=unnamed, key="make-cluster"):
        made = cart.catalog().assign(run, None, recipe, who=cart.who(), why=name)
        cart.catalog().rename(run, made.change.cluster, name, who=cart.who())
        st.rerun()


def show_sources(chosen: NDArray[np.bool_]) -> None:
    """Sources of the chosen pairs beside those of all, and their mean scores."""
    st.markdown("**Sources and scores of these pairs**")
    st.dataframe(
        selection.sources(chosen), hide_index=True, key="selected-sources",
        column_config=theme.columns({"source": 140}),
    )  # fmt: skip
    scores = selection.scores(chosen)
    if len(scores):
        widths = {"behavior": 160, "score": 130, "mean of selection": 115}
        st.dataframe(
            scores, key="selected-scores", hide_index=True, column_config=theme.columns(widths)
        )


def saved(place: DeltaGenerator, selections: Mapping[str, Recipe]) -> Recipe | None:
    """One of the saved selections, if somebody wants one."""
    name = place.selectbox(
        "Saved", [None, *selections], key="kept",
        format_func=lambda name: "none" if name is None else text.short(name, 40),
        help="A selection that was saved under a name below.",
    )  # fmt: skip
    if name in selections:
        place.button("Forget it", on_click=forget, args=(name,), type="tertiary", key="forget")
    return selections.get(name)


def forget(name: str) -> None:
    """Remove a saved selection; the history on Clusters can bring it back."""
    cart.catalog().forget(name, who=cart.who())


def liked() -> str | None:
    """The pair that others are like."""
    uid: str | None = st.session_state.get(LIKE)
    return uid


def choose_like(uid: str | None) -> None:
    """Select the pairs like this one; None: no longer."""
    st.session_state[LIKE] = uid


def offer_like(place: DeltaGenerator, uid: str) -> None:
    """A button for the pairs that are most like the one that is read."""
    if place.button("More like this", key="like-this", help=LIKE_HELP, type="tertiary"):
        choose_like(uid)
        st.rerun()


def like(run: str) -> Recipe | None:
    """The pairs nearest to the one whose button was pressed."""
    uid = liked()
    if uid is None:
        return None
    row = st.container(horizontal=True, vertical_alignment="center")
    uids = _nearest(run, uid)
    row.text(
        f"The {len(uids)} pairs nearest to {text.visible(uid)}, in effect and in context."
        if uids
        else f"Nothing is near to {text.visible(uid)}: this map's index has no vector of it."
    )
    row.button("Forget them", on_click=choose_like, args=(None,), key="unlike", type="tertiary")
    return Where(column="uid", values=tuple(uids)) if uids else None


def _nearest(run: str, uid: str) -> list[str]:
    store, index = cache.store(), cache.specs(DiscoverSpec)[run].index
    output = store.output(index)
    if store.state(index) != "finished" or not (output / "pairs.parquet").is_file():
        return []
    return _found(str(output), cache.summary(run)["layer"], uid)


@st.cache_data(show_spinner="Comparing with all pairs …", max_entries=32)
def _found(index: str, layer: int, uid: str) -> list[str]:
    return nearest(VectorIndex.open(index), layer, uid, NEAREST)
