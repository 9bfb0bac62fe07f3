"""What kinds of pairs are there? A map of pairs and prompts, or all their similarities at once."""

import functools

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from core.discovery import matrix, raster
from core.discovery.raster import View
from core.intervention.edits.select import inside
from core.specs.recipes import Recipe
from pages.components import (
    cache,
    cart,
    glossary,
    jobs,
    pickers,
    reading,
    region,
    selection,
    text,
    theme,
    words,
)
from pages.components.clusters import state
from pages.components.map import coloring, figure, heatmap, panel, widgets

FEW = 8  # options of a facet that are listed at first
FACETS, READ = "facets-chosen", "pair"  # of the session, and of the URL
CHART = "pairs-chart"
FILE_ORDER = "order of the file"

visited = "view" in st.session_state  # a widget is forgotten once its page is left
glossary.heading(
    "What kinds of pairs are there?", "Map", "Cluster", "Mean similarity", "Selecting", "Heatmap"
)
row = st.container(horizontal=True, vertical_alignment="center")
row.caption(
    "Pairs that push the model the same way are close together. Click a point to read it, or draw "
    "around a group; a name or a bar chooses, too. Ctrl and the wheel zoom."
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
pairs = cache.pairs(project.pairs)
labels = state.labels(run)
names = state.names(run)
members = state.membership(run, labels)
saved = cart.catalog().state().selections


@functools.cache  # of this run: not before the chart, unless something is chosen
def facets() -> list[coloring.Facet]:
    """What pairs can be chosen by."""
    return coloring.facets(run, labels, members)


def open_link() -> None:
    """What a link selects, reads and shows, in place of what this visit had; none: that again."""
    st.session_state.setdefault(FACETS, {})
    st.session_state["missing"] = ""
    others = (panel.LIKE, READ, region.ZOOM, region.PAIRS, region.PROMPTS)
    keys = [facet.key for facet in facets()] if st.query_params else []
    if not {*keys, *others} & {*st.query_params}:
        return
    asked = {key: st.query_params.get_all(key) for key in keys}
    st.session_state[FACETS] = {key: options for key, options in asked.items() if options}
    panel.choose_like(st.query_params.get(panel.LIKE))
    reading.read("map", st.query_params.get(READ))
    region.clear()
    missing = region.restore(run) + [
        f"{facet.title} “{option}”"
        for facet in facets()
        for option in asked[facet.key]
        if option not in facet.ids
    ]
    uids = [st.query_params[key] for key in (READ, panel.LIKE) if key in st.query_params]
    missing += [f"pair “{uid}”" for uid in uids if pairs.positions([uid])[0] < 0]
    st.session_state["missing"] = "; ".join(dict.fromkeys(missing))


def toggle(key: str, option: str) -> None:
    """Choose an option of a facet, or no longer; without one, clear the whole selection."""
    chosen = dict(st.session_state[FACETS])
    if not key:
        st.session_state[FACETS] = {}
        panel.choose_like(None)
        region.clear()
        heatmap.clear()
        return
    before = list(chosen.get(key, ()))
    chosen[key] = [o for o in before if o != option] if option in before else [*before, option]
    st.session_state[FACETS] = chosen


def choose_parts() -> tuple[dict[str, Recipe], str]:
    """The selection as conditions by where they were chosen, and what colors the points."""
    columns = st.columns([3, 2, 3] if not saved else [3, 2, 3, 3])
    choices = st.session_state[FACETS]
    chosen = {facet.key: (facet, facet.chosen(choices)) for facet in facets()} if choices else {}
    parts: dict[str, Recipe | None] = {
        key: facet.recipe(options) for key, (facet, options) in chosen.items() if options
    }
    parts["search"] = pickers.search(columns[0], columns[1])
    by = columns[2].selectbox(
        "Color by", coloring.options(), key="color", bind="query-params", format_func=theme.label,
        help="What the colors of the map show. It changes no selection.",
    )  # fmt: skip
    parts["saved"] = panel.saved(columns[3], saved) if saved else None
    parts |= {"region": region.drawn(run), "band": heatmap.band(run), panel.LIKE: panel.like(run)}
    return {key: part for key, part in parts.items() if part}, str(by)


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
    heatmap.draw(run, colors, on_map, figure.prompt_texts(run))
    st.button(
        "Clear the band", on_click=heatmap.clear, disabled=heatmap.band(run) is None,
        key="clear-band",
    )  # fmt: skip


def show_map() -> None:
    """The map of pairs, and what can be done with the view."""
    undefined = int(points["x"].isna().sum())
    beside = int((~points["laid_out"]).sum()) - undefined if "laid_out" in points else 0
    notes = f"; {beside:,} are put beside the nearest of the others" if beside > 0 else ""
    if undefined:
        notes += f"; {undefined:,} have no place, because their vector is undefined"
    x, y = points["x"].to_numpy(), points["y"].to_numpy()
    selected, drawn = raster.view_of(x[on_map], y[on_map]), region.drawn(run)
    names_on_map = members, state.plain_names(run)
    chart = figure.pairs_figure(
        run, points, colors, shown=on_map, outline=drawn, part=part, names=names_on_map
    )
    alt = "Map of the pairs: pairs that push the model the same way are close together."
    with st.container(key=CHART):
        region.draw(chart, run, alt=alt)
    buttons = st.container(horizontal=True)
    buttons.button(
        "Zoom to the selection", on_click=region.zoom, args=(run, selected),
        disabled=recipe is None or not on_map.any(), key="zoom",
        help="Show only the part of the map around what is selected.",
    )  # fmt: skip
    buttons.button("Whole map", on_click=region.zoom, args=(run, None), key="whole")
    buttons.button(
        "Clear the region", on_click=region.clear, disabled=drawn is None, key="clear-region",
        help="Forget what was drawn; choices above the map stay.",
    )  # fmt: skip
    region.show_sliders(run, everywhere)
    st.caption(f"{len(points):,} pairs{figure.drawn_note(len(points))}{notes}")


def show_prompts() -> None:
    """The map of prompts; with pairs selected, by their mean similarity to each prompt."""
    st.markdown(f"**Prompts** · {len(prompts):,}, near if the same pairs push them")
    table = prompts.assign(label=figure.prompt_labels(prompts, figure.prompt_texts(run)))
    if recipe is not None and on_map.any():
        table["value"] = matrix.mean_by_prompt(cache.store().output(run), on_map)
    chart = figure.prompts_figure(table, region.drawn(run, region.PROMPTS))
    everything = raster.view_of(prompts["x"].to_numpy(), prompts["y"].to_numpy())
    then = {"color": coloring.TO_PROMPTS}
    alt = "Map of the prompts: prompts that the same pairs push are close together."
    region.draw(chart, run, region.PROMPTS, alt=alt, then=then)
    region.show_sliders(run, everything, region.PROMPTS, then=then)


@st.fragment  # who reads on need not wait for the pictures
def show_pairs() -> None:
    """The selected pairs in some order, one of them in full, and what a click on the map does."""
    if view == "map":
        _listen()
    positions = np.flatnonzero(chosen)
    if not len(positions):
        return
    order = st.selectbox(
        "Order", [FILE_ORDER, *coloring.rankings()], key="order", bind="query-params",
        format_func=theme.label, help="Of the table; J and K follow it. The highest come first.",
    )  # fmt: skip
    ordered = coloring.ordered(positions, str(order))
    reading.show(ordered, show_pair, key="map", beside=False)
    region.write_url(READ, [reading.chosen("map") or ""])


def show_pair(pair: pd.Series) -> None:
    """One pair, its cluster, and the way to others like it."""
    row = st.container(horizontal=True, vertical_alignment="center")
    place = points.index.get_indexer([pair["uid"]])[0]
    cluster = int(members[place]) if place >= 0 else -1
    row.caption(text.escape(text.short((names | {-1: state.NOISE}).get(cluster, ""), 60)))
    panel.offer_like(row, pair["uid"])
    words.show_pair(pair, key="map")


def _listen() -> None:
    """Cards over the map; a clicked point is read, a clicked name chosen, a zoom kept."""
    rows = figure.drawn_rows(points, part)
    places = selection.map_rows(run)[rows]
    codes = pd.Index([*names, -1]).get_indexer(pd.Index(members[rows]))
    strengths = points["push"].to_numpy()[rows] if "push" in points else np.full(len(rows), np.nan)
    facts = [f"score {value:+.3f}" if np.isfinite(value) else "" for value in strengths]
    version = f"{run} {cache.pairs_version(project.pairs)}"
    uid = reading.chosen("map")
    place = points.index.get_indexer([uid])[0] if uid else -1
    pin = tuple(points[["x", "y"]].to_numpy(float)[place].tolist()) if place >= 0 else None
    done = widgets.gestures(
        CHART, widgets.cards(version, rows, places, facts), (codes, [*names.values(), state.NOISE]),
        pin if pin and np.isfinite(pin).all() else None,
    )  # fmt: skip
    if done.row is not None:
        reading.read("map", str(points["uid"].iloc[int(done.row)]))
        st.rerun(scope="fragment")
    if done.cluster is not None:
        toggle("cluster", str(done.cluster))
        st.rerun()
    if done.view is not None:
        ends = list(done.view)
        region.look(run, View(*map(float, ends)) if len(ends) == 4 else None)
        st.rerun()


if not visited:
    open_link()
if missing := st.session_state.get("missing"):
    st.warning(text.escape(f"The link names what is not here (any more): {missing}."))
state.explain_few(run)
parts, by = choose_parts()
colors = coloring.of(by, run, members, choose_prompts() if by == coloring.TO_PROMPTS else None)
recipe = cart.all_of(list(parts.values())) if parts else None
chosen = selection.mask(recipe) if recipe else np.ones(len(pairs), bool)
on_map = selection.on_map(run, recipe) if recipe else np.ones(len(points), bool)
everywhere = raster.view_of(points["x"].to_numpy(), points["y"].to_numpy())
part = region.view(run, everywhere)
left, middle, right = st.columns([5, 12, 10], gap="small")
with middle:  # first what somebody waits for: the numbers of a selection, then its pictures
    charts = st.container()
    panel.show(run, recipe, chosen, members[on_map])
    with charts:
        show_map() if view == "map" else show_heatmap()
with left:
    listed = coloring.counted(facets(), st.session_state[FACETS], parts, by)
    widgets.facets(listed, few=FEW, toggle=toggle, anything=bool({*parts} - {"search", "saved"}))
with right:
    show_pairs()
if view == "map":
    left, right = st.columns([3, 2], gap="small")
    with left:
        show_prompts()
    with right:
        panel.show_sources(chosen)
for facet in facets():
    region.write_url(facet.key, facet.chosen(st.session_state[FACETS]))
region.write_url(panel.LIKE, [panel.liked() or ""])
region.publish(run)
jobs.command(cache.store().spec(run))
