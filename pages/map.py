"""What kinds of pairs are there? A map of pairs and prompts, or all their similarities at once."""

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from streamlit.delta_generator import DeltaGenerator

from core.discovery import matrix, raster
from core.intervention.edits.select import inside
from core.specs.recipes import Recipe, Where
from pages.components import (
    cache,
    cart,
    glossary,
    jobs,
    pickers,
    region,
    selection,
    text,
    theme,
)
from pages.components.clusters import state
from pages.components.map import coloring, figure, heatmap, selection_panel

glossary.heading(
    "What kinds of pairs are there?", "Map", "Cluster", "Mean similarity", "Selecting", "Heatmap"
)
row = st.container(horizontal=True, vertical_alignment="center")
row.caption(
    "Pairs that push the model the same way are close together. Draw around a group to read it."
)
view = row.segmented_control(
    "View", ["map", "heatmap"], default="map", required=True, key="view", bind="query-params",
    label_visibility="collapsed",
    help="map: pairs and prompts as points · heatmap: every prompt by every pair",
)  # fmt: skip
project = cache.project()
run = pickers.discovery(project)
if run is None:
    st.stop()
prompts = cache.table(run, "prompts")
points = cache.map_points(run)
labels = state.labels(run)
names = state.names(run) | {-1: state.NOISE}
saved = cart.catalog().state().selections


def choose_parts() -> tuple[list[Recipe], str]:
    """The selection as a list of conditions, and what colors the points."""
    columns = st.columns([4, 3, 3, 3, 3] if not saved else [4, 3, 3, 3, 3, 3])
    with columns[0]:
        clusters = pickers.choose_many(
            "Clusters", list(names), lambda cluster: text.short(names[cluster], 60), key="cluster"
        )
    sources = columns[1].multiselect(
        "Source", selection.options("source"), key="source", bind="query-params",
        help="Where pairs come from, as their file says. None chosen: all.",
    )  # fmt: skip
    parts = [
        state.recipe(labels, clusters) if clusters else None,
        Where(column="source", values=tuple(sources)) if sources else None,
        _saved_selection(columns[5]) if saved else None,
        pickers.search(columns[2], columns[3]),
        region.drawn(run),
        heatmap.band(run),
    ]
    by = columns[4].selectbox(
        "Color by", coloring.options(), key="color", bind="query-params", format_func=theme.label,
        help="What the colors of the map show. It changes no selection.",
    )  # fmt: skip
    return [part for part in parts if part], str(by)


def _saved_selection(place: DeltaGenerator) -> Recipe | None:
    name = place.selectbox(
        "Saved", [None, *saved], key="kept",
        format_func=lambda name: "none" if name is None else text.short(name, 40),
        help="A selection that was saved under a name below.",
    )  # fmt: skip
    if name in saved:
        place.button("Forget it", on_click=forget, args=(name,), type="tertiary", key="forget")
    return saved.get(name)


def forget(name: str) -> None:
    """Remove a saved selection; the history on Clusters can bring it back."""
    cart.catalog().forget(name, who=cart.who())
    st.rerun()


def choose_prompts() -> NDArray[np.bool_]:
    """(prompt,) a mask: the region drawn on their map, else one group under one condition."""
    groups = prompts["group"] + ", " + prompts["condition"]
    drawn, band = region.drawn(run, region.PROMPTS), heatmap.band(run, heatmap.ROWS)
    if drawn is not None or band is not None:
        left, right = st.columns([4, 1], vertical_alignment="center")
        mask = np.ones(len(prompts), bool)
        if drawn is not None:
            mask &= inside(prompts["x"].to_numpy(), prompts["y"].to_numpy(), drawn.x, drawn.y)
        if band is not None:
            mask &= prompts["place"].between(band.low, band.high).to_numpy()
        left.text(f"To the {mask.sum():,} prompts in the region that was drawn on their map.")
        right.button("Clear", on_click=clear_prompts, key="clear-prompts")
        return mask
    group = st.selectbox(
        "Similarity to", sorted(set(groups)), key="kind", bind="query-params",
        help="The prompts that pairs are compared with. Or draw around some on their map.",
    )  # fmt: skip
    return (groups == group).to_numpy()


def clear_prompts() -> None:
    """Choose prompts by group and condition again."""
    region.clear(region.PROMPTS)
    heatmap.clear(heatmap.ROWS)


def show_heatmap() -> None:
    """All prompts and pairs at once."""
    if not heatmap.available(run):
        st.info("This map was made by an earlier version. Run discover again to see a heatmap.")
        return
    size = f"{len(prompts):,} prompts, upwards, by {len(points):,} pairs, across"
    st.markdown(f"**Similarities** · {size}; similar beside similar. Draw a box to select.")
    heatmap.draw(run, colors, shown)
    st.button(
        "Clear the band", on_click=heatmap.clear, disabled=heatmap.band(run) is None,
        key="clear-band",
    )  # fmt: skip


def show_pairs() -> None:
    """The map of pairs, and what can be done with the view."""
    undefined = int(points["x"].isna().sum())
    beside = int((~points["laid_out"]).sum()) - undefined if "laid_out" in points else 0
    notes = f"; {beside:,} are put beside the nearest of the others" if beside > 0 else ""
    if undefined:
        notes += f"; {undefined:,} have no place, because their vector is undefined"
    st.markdown(f"**Pairs** · {len(points):,}{figure.drawn_note(len(points))}{notes}")
    x, y = points["x"].to_numpy(), points["y"].to_numpy()
    everything, selected = raster.view_of(x, y), raster.view_of(x[shown], y[shown])
    drawn = region.drawn(run)
    part = region.view(run, everything)
    chart = figure.pairs_figure(run, points, colors, shown=shown, outline=drawn, part=part)
    alt = "Map of the pairs: pairs that push the model the same way are close together."
    region.draw(chart, run, alt=alt)
    buttons = st.container(horizontal=True)
    buttons.button(
        "Zoom to the selection", on_click=region.zoom, args=(run, selected),
        disabled=on_map is None or not on_map.any(), key="zoom",
        help="Show only the part of the map around what is selected.",
    )  # fmt: skip
    buttons.button("Whole map", on_click=region.zoom, args=(run, None), key="whole")
    buttons.button(
        "Clear the region", on_click=region.clear, disabled=drawn is None, key="clear-region",
        help="Forget what was drawn; choices above the map stay.",
    )  # fmt: skip
    region.show_sliders(run, everything)


def show_prompts() -> None:
    """The map of prompts; with pairs selected, by their mean similarity to each prompt."""
    st.markdown(f"**Prompts** · {len(prompts):,}, near if the same pairs push them")
    table = prompts.assign(label=prompts["prompt_id"] + ", " + prompts["condition"])
    if on_map is not None and on_map.any():
        table["value"] = matrix.mean_by_prompt(cache.store().output(run), on_map)
    chart = figure.prompts_figure(table, region.drawn(run, region.PROMPTS))
    everything = raster.view_of(prompts["x"].to_numpy(), prompts["y"].to_numpy())
    then = {"color": coloring.TO_PROMPTS}
    alt = "Map of the prompts: prompts that the same pairs push are close together."
    region.draw(chart, run, region.PROMPTS, alt=alt, then=then)
    region.show_sliders(run, everything, region.PROMPTS, then=then)


def show_charts() -> None:
    """The heatmap, or both maps side by side."""
    if view == "heatmap":
        with st.container(border=True):
            show_heatmap()
        return
    left, right = st.columns([3, 2], gap="small")
    with left.container(border=True, height="stretch"):
        show_pairs()
    with right.container(border=True, height="stretch"):
        show_prompts()


parts, by = choose_parts()
colors = coloring.of(by, run, labels, choose_prompts() if by == coloring.TO_PROMPTS else None)
recipe = cart.all_of(parts) if parts else None
chosen = selection.mask(recipe) if recipe else None
on_map = selection.on_map(run, recipe) if recipe else None
shown = np.ones(len(points), bool) if on_map is None else on_map
state.explain_few(run)
charts, details = st.container(), st.container()
if recipe is None:
    with charts:
        show_charts()
    with details:
        selection_panel.show_everything(run)
else:
    with details:  # first: the numbers of a selection need not wait for the pictures above them
        selection_panel.show(run, recipe, chosen, shown)
    with charts:
        show_charts()
jobs.command(cache.store().spec(run))
