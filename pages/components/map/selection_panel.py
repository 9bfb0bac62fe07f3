"""What a selection on the map is, in words, numbers and pairs, and what can be done with it."""

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from core.specs.events import Save
from core.specs.recipe_text import words
from core.specs.recipes import Recipe
from pages.components import cache, cart, pickers, selection, text

SHOWN = 200  # pairs in the table at a time
Mask = NDArray[np.bool_]


def show(run: str, recipe: Recipe, chosen: Mask, shown: Mask) -> None:
    """What is selected, in words and numbers; what can be done with it; the pairs."""
    st.subheader("Selection")
    st.text(text.visible(words(recipe, cache.ranked_behaviors())))
    if not chosen.any():
        st.warning("No pair satisfies all of these.")
        return
    _statistics(run, chosen, shown)
    _actions(run, recipe, int(chosen.sum()))
    _pairs(chosen)
    _origins(chosen)


def show_everything(run: str) -> None:
    """What there is before anything is selected; the browser loads what a selection needs."""
    st.info("Nothing is selected. Draw around a group, or choose clusters, sources or words above.")
    everything = np.ones(len(cache.pairs(cache.project().pairs)), bool)
    _statistics(run, everything, np.ones(len(cache.map_points(run)), bool))
    _origins(everything)


def _statistics(run: str, chosen: Mask, shown: Mask) -> None:
    """How much of the data is selected, and of which clusters."""
    places, facts = cache.map_points(run), st.columns(4)
    facts[0].metric("Pairs", f"{chosen.sum():,}")
    facts[1].metric("Share of all", f"{chosen.sum() / len(places):.1%}")
    clusters = places["cluster"].to_numpy()[shown]
    facts[2].metric("Clusters touched", len(np.unique(clusters[clusters >= 0])))
    loose = f"{(clusters == -1).mean():.0%}" if len(clusters) else "–"
    facts[3].metric("In no cluster", loose, help="Share of these pairs that no cluster holds.")


def _actions(run: str, recipe: Recipe, count: int) -> None:
    """Into the edit cart, under a name, or as a cluster."""
    left, right = st.columns(2, gap="large")
    with left:
        cart.offer(recipe, count=count, key="map", why="from the map")
    row = right.container(horizontal=True, vertical_alignment="bottom")
    given = row.text_input(
        "Name",
        key="selection-name",
        max_chars=80,
        help="Save keeps the selection for later; Make a cluster gives it a place on Clusters.",
    )
    unnamed = not given.strip()
    if row.button("Save", disabled=unnamed, key="save"):
        cart.catalog().change(Save(name=given, recipe=recipe), who=cart.who())
        st.toast("Saved: choose it above the map, here or in another session.")
        st.rerun()
    if row.button("Make a cluster", disabled=unnamed, key="make-cluster"):
        made = cart.catalog().assign(run, None, recipe, who=cart.who(), why=given)
        cart.catalog().rename(run, made.change.cluster, given, who=cart.who())
        st.rerun()


@st.fragment  # who reads on need not wait for the pictures
def _pairs(chosen: Mask) -> None:
    """The pairs behind the selection, and one of them in full."""
    positions = np.flatnonzero(chosen)
    last, number = -(-len(positions) // SHOWN), 1
    about, page = st.columns([6, 1], vertical_alignment="bottom")
    if last > 1:
        number = page.number_input(f"Page of {last:,}", 1, last, key=f"page-{len(positions)}")
    rows = cache.pairs(cache.project().pairs).rows(positions[(number - 1) * SHOWN : number * SHOWN])
    about.caption(
        f"{len(rows):,} of {len(positions):,} pairs, in the order of the file. Click a row to read."
    )
    shown = rows[["uid", "source"]].assign(
        **{name: rows[name].map(text.short) for name in ("prompt", "chosen", "rejected")}
    )
    event = st.dataframe(
        shown,
        hide_index=True,
        height=220,
        on_select="rerun",
        selection_mode="single-row",
        key="selected-pairs",
        column_order=["prompt", "chosen", "rejected", "source", "uid"],
    )
    text.show_pair(rows.iloc[pickers.clicked_row(event, len(rows))])


def _origins(chosen: Mask) -> None:
    """Sources of the chosen pairs beside those of all, and what they push."""
    with st.expander("Where these pairs come from, and how far they push", expanded=True):
        left, right = st.columns([4, 5])
        left.dataframe(
            selection.sources(chosen),
            hide_index=True,
            key="selected-sources",
            column_config={"source": st.column_config.Column(width=140)},
        )
        scores = selection.scores(chosen)
        if len(scores):
            widths = {"behavior": 195, "score": 95, "mean of selection": 115}
            columns = {name: st.column_config.Column(width=width) for name, width in widths.items()}
            right.dataframe(scores, key="selected-scores", hide_index=True, column_config=columns)
