"""What is selected on the map, in words, numbers and pairs, and what can be done with it."""

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from core.specs.events import Save
from core.specs.recipe_text import describe_recipe
from core.specs.recipes import Recipe
from pages.components import cache, cart, pickers, selection, text, theme, words

SHOWN = 200  # pairs in the table at a time
TEXTS = ("prompt", "chosen", "rejected")
Mask = NDArray[np.bool_]


def show(run: str, recipe: Recipe, chosen: Mask, on_map: Mask) -> None:
    """What is selected; `chosen` is over the file's pairs, `on_map` over those of the map."""
    st.subheader("Selection")
    st.text(text.visible(describe_recipe(recipe, cache.ranked_behaviors())))
    if not chosen.any():
        st.warning("No pair satisfies all of these.")
        return
    _show_statistics(run, chosen, on_map)
    _show_actions(run, recipe, int(chosen.sum()))
    _show_pairs(chosen)
    _show_sources(chosen)


def show_everything(run: str) -> None:
    """All pairs, before anything is selected; the browser loads what a selection needs."""
    st.info("Nothing is selected. Draw around a group, or choose clusters, sources or words above.")
    everything = np.ones(len(cache.pairs(cache.project().pairs)), bool)
    _show_statistics(run, everything, np.ones(len(cache.map_points(run)), bool))
    _show_sources(everything)


def _show_statistics(run: str, chosen: Mask, on_map: Mask) -> None:
    """How much of the data is selected, and of which clusters."""
    places, columns = cache.map_points(run), st.columns(4)
    clusters = places["cluster"].to_numpy()[on_map]
    outside = f"{(clusters == -1).mean():.0%}" if len(clusters) else "–"
    columns[0].metric("Pairs", f"{chosen.sum():,}")
    columns[1].metric("Share of all", f"{chosen.sum() / len(places):.1%}")
    columns[2].metric("Clusters touched", len(np.unique(clusters[clusters >= 0])))
    columns[3].metric("In no cluster", outside, help="Share of these pairs that no cluster has.")


def _show_actions(run: str, recipe: Recipe, count: int) -> None:
    """Into the edit cart, under a name, or as a cluster."""
    left, right = st.columns(2, gap="large")
    with left:
        cart.offer(recipe, count=count, key="map", why="from the map")
    row = right.container(horizontal=True, vertical_alignment="bottom")
    name = row.text_input(
        "Name", key="selection-name", max_chars=80,
        help="Save keeps the selection for later; Make a cluster lists it on Clusters.",
    )  # fmt: skip
    unnamed = not name.strip()
    if row.button("Save", disabled=unnamed, key="save"):
        cart.catalog().change(Save(name=name, recipe=recipe), who=cart.who())
        st.toast("Saved: choose it above the map, here or in another session.")
        st.rerun()
    if row.button("Make a cluster", disabled=unnamed, key="make-cluster"):
        made = cart.catalog().assign(run, None, recipe, who=cart.who(), why=name)
        cart.catalog().rename(run, made.change.cluster, name, who=cart.who())
        st.rerun()


@st.fragment  # who reads on need not wait for the pictures
def _show_pairs(chosen: Mask) -> None:
    """The selected pairs, and one of them in full."""
    positions = np.flatnonzero(chosen)
    left, right = st.columns([6, 1], vertical_alignment="bottom")
    page = slice(SHOWN)
    if len(positions) > SHOWN:
        page = pickers.page(right, len(positions), SHOWN, key=f"page-{len(positions)}")
    rows = cache.pairs(cache.project().pairs).rows(positions[page])
    left.caption(
        f"{len(rows):,} of {len(positions):,} pairs, in the order of the file. Click a row to read."
    )
    event = st.dataframe(
        rows[["uid", "source"]].assign(**{name: rows[name].map(text.short) for name in TEXTS}),
        hide_index=True,
        height=220,
        on_select="rerun",
        selection_mode="single-row",
        key="selected-pairs",
        column_order=[*TEXTS, "source", "uid"],
    )
    words.show_pair(rows.iloc[pickers.clicked_row(event, len(rows))], key="map")


def _show_sources(chosen: Mask) -> None:
    """Sources of the chosen pairs beside those of all, and their mean scores."""
    with st.expander("Sources and scores of these pairs", expanded=True):
        left, right = st.columns([4, 5])
        left.dataframe(
            selection.sources(chosen), hide_index=True, key="selected-sources",
            column_config=theme.columns({"source": 140}),
        )  # fmt: skip
        scores = selection.scores(chosen)
        if len(scores):
            widths = {"behavior": 160, "score": 130, "mean of selection": 115}
            right.dataframe(
                scores, key="selected-scores", hide_index=True, column_config=theme.columns(widths)
            )
