"""What kinds of pairs are there, and which ones act alike?"""

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from streamlit.delta_generator import DeltaGenerator

from core.discovery import matrix, raster
from core.intervention.edits.select import inside
from core.specs.recipes import Recipe, Where
from core.workspace.labels import Labels
from pages.components import cache, cart, jobs, pickers, region, selection, text, theme
from pages.components.clusters import state
from pages.components.map import coloring as colorings
from pages.components.map import figure as map_figure
from pages.components.map import heatmap, selection_panel

TERMS = """
- **The map** (UMAP): every dot is one preference pair. Pairs lie together when training on them
  pushes the model the same way on the same prompts. Distances across the map mean little,
  neighborhoods mean a lot.
- **Cluster** (HDBSCAN): a dense group on the map, found without labels. Pairs between groups
  belong to no cluster. A name in (parentheses) is a suggestion made of typical words.
- **Push**: the mean similarity of pairs to prompts. With pairs selected, the map of prompts shows
  which of them they push; color by *similarity to prompts* to see which pairs move the chosen ones.
- **Draw** with the lasso or the box to select a region; the selection is kept as the region
  itself, so that it can be replayed on the data. The choices above the map do the same by name,
  and sliders below it draw a box with the keyboard.
- **Heatmap**: the similarity of every prompt to every pair, ordered so that what is alike stands
  together (Ward). The strip below shows the pairs' clusters, the one on the left the prompts.
"""

heading = st.container(horizontal=True, vertical_alignment="bottom")
heading.title("What kinds of pairs are there?")
heading.popover("What these words mean").markdown(TERMS)
about = st.container(horizontal=True, vertical_alignment="center")
about.caption(
    "Pairs that push the model the same way lie together. Draw around a group to read it."
)
view = about.segmented_control(
    "View",
    ["map", "heatmap"],
    default="map",
    required=True,
    key="view",
    bind="query-params",
    label_visibility="collapsed",
    help="map: pairs and prompts as points · heatmap: every prompt by every pair",
)
project = cache.project()
run = pickers.discovery(project)
if run is None:
    st.stop()
output = cache.store().output(run)
prompts = cache.table(run, "prompts")
places = cache.map_points(run)
said: Labels = state.labels(run)
names = state.names(run)
saved = cart.catalog().state().selections


def choose_parts() -> tuple[list[Recipe], str]:
    """The selection as a list of conditions, and what colors the points."""
    columns = st.columns([4, 3, 3, 3, 3] if not saved else [4, 3, 3, 3, 3, 3])
    clusters = _named_clusters(columns[0])
    sources = columns[1].multiselect(
        "Source",
        selection.options("source"),
        key="source",
        bind="query-params",
        help="Where pairs come from, as their file says. None chosen: all.",
    )
    found = pickers.search(columns[2], columns[3])
    by = columns[4].selectbox(
        "Color by",
        colorings.options(),
        key="color",
        bind="query-params",
        format_func=theme.label,
        help="What the colors of the map say. It changes no selection.",
    )
    parts: list[Recipe] = [state.recipe(said, clusters)] if clusters else []
    if sources:
        parts.append(Where(column="source", values=tuple(sources)))
    if saved:
        known = [None, *saved]
        kept = columns[5].selectbox(
            "Saved",
            known,
            key="kept",
            format_func=_saved_name,
            help="A selection that was saved under a name below.",
        )
        if kept in saved:
            parts.append(saved[kept])
            columns[5].button(
                "Forget it", on_click=forget, args=(kept,), type="tertiary", key="forget"
            )
    drawn = [found, region.drawn(run), heatmap.band(run)]
    return [*parts, *(part for part in drawn if part)], str(by)


def forget(name: str) -> None:
    """Keep a saved selection no longer; the history on Clusters can bring it back."""
    cart.catalog().forget(name, who=cart.who())
    st.rerun()


def _named_clusters(column: DeltaGenerator) -> list[int]:
    known = names | {-1: state.NOISE}
    with column:
        return pickers.choose_many(
            "Clusters", list(known), lambda one: text.short(known[one], 60), key="cluster"
        )


def _saved_name(name: str | None) -> str:
    return "none" if name is None else text.short(name, 40)


def choose_prompts() -> NDArray[np.bool_]:
    """(prompt,) a mask: the region drawn on their map, else one kind of prompts."""
    kinds = prompts["group"] + ", " + prompts["condition"]
    drawn, band = region.drawn(run, region.PROMPTS), heatmap.band(run, heatmap.ROWS)
    if drawn is not None or band is not None:
        left, right = st.columns([4, 1], vertical_alignment="center")
        chosen = np.ones(len(prompts), bool)
        if drawn is not None:
            chosen &= inside(prompts["x"].to_numpy(), prompts["y"].to_numpy(), drawn.x, drawn.y)
        if band is not None:
            chosen &= prompts["place"].between(band.low, band.high).to_numpy()
        left.text(f"Onto the {chosen.sum():,} prompts in the region that was drawn on their map.")
        right.button("Clear", on_click=clear_prompts, key="clear-prompts")
        return chosen
    kind = st.selectbox(
        "Push onto",
        sorted(set(kinds)),
        key="kind",
        bind="query-params",
        help="The prompts that the pairs' push is counted on. Or draw around some on their map.",
    )
    return (kinds == kind).to_numpy()


def clear_prompts() -> None:
    """Choose prompts by their kind again."""
    region.clear(region.PROMPTS)
    heatmap.clear(heatmap.ROWS)


def show_heatmap(coloring: colorings.Coloring, shown: NDArray[np.bool_]) -> None:
    """All prompts and pairs at once."""
    if not heatmap.available(run):
        st.info("This map was made by an earlier version. Run discover again to see a heatmap.")
        return
    size = f"{len(prompts):,} prompts, upwards, by {len(places):,} pairs, across"
    st.markdown(f"**Similarities** · {size}; alike beside alike. Draw a box to select.")
    heatmap.draw(run, coloring, shown)
    st.button(
        "Clear the band",
        on_click=heatmap.clear,
        disabled=heatmap.band(run) is None,
        key="clear-band",
    )


def show_map(coloring: colorings.Coloring, shown: NDArray[np.bool_], selected: bool) -> None:
    """The map of pairs, and what can be done with the view."""
    lost = int(places["x"].isna().sum())
    beside = int((~places["laid_out"]).sum()) - lost if "laid_out" in places else 0
    nowhere = f"; {lost:,} have no place, because their vector is undefined" if lost else ""
    nearby = f"; {beside:,} are put beside the nearest of the others" if beside > 0 else ""
    st.markdown(f"**Pairs** · {len(places):,}{map_figure.drawn_note(len(places))}{nearby}{nowhere}")
    x, y = places["x"].to_numpy(), places["y"].to_numpy()
    part = region.view(run, raster.view_of(x, y))
    drawn = region.drawn(run)
    figure = map_figure.cached_figure(run, places, coloring, shown=shown, outline=drawn, part=part)
    region.draw(figure, run, alt="Map of the pairs: pairs that push the same way lie together.")
    ways = st.container(horizontal=True)
    around = raster.view_of(x[shown], y[shown])
    ways.button(
        "Zoom to the selection",
        on_click=region.zoom,
        args=(run, around),
        disabled=not selected,
        key="zoom",
        help="Show only the part of the map around what is selected.",
    )
    ways.button("Whole map", on_click=region.zoom, args=(run, None), key="whole")
    ways.button(
        "Clear the region",
        on_click=region.clear,
        disabled=region.drawn(run) is None,
        key="clear-region",
        help="Forget what was drawn; choices above the map stay.",
    )
    region.show_sliders(run, raster.view_of(x, y))


def show_prompts(chosen: NDArray[np.bool_] | None) -> None:
    """The map of prompts; with pairs selected, by how far these push each prompt."""
    st.markdown(f"**Prompts** · {len(prompts):,}, alike if pushed by the same pairs")
    points = prompts.assign(label=prompts["prompt_id"] + ", " + prompts["condition"])
    if chosen is not None and chosen.any():
        points["value"] = matrix.mean_by_prompt(output, chosen)
    figure = map_figure.prompts_figure(points, region.drawn(run, region.PROMPTS))
    region.draw(
        figure,
        run,
        region.PROMPTS,
        alt="Map of the prompts: prompts that the same pairs push lie together.",
        then={"color": colorings.TO_PROMPTS},
    )
    whole = raster.view_of(prompts["x"].to_numpy(), prompts["y"].to_numpy())
    region.show_sliders(run, whole, region.PROMPTS, then={"color": colorings.TO_PROMPTS})


def show_charts() -> None:
    """The heatmap, or both maps side by side."""
    if view == "heatmap":
        with st.container(border=True):
            show_heatmap(coloring, shown)
        return
    left, right = st.columns([3, 2], gap="small")
    with left.container(border=True, height="stretch"):
        show_map(coloring, shown, selected=on_map is not None and bool(on_map.any()))
    with right.container(border=True, height="stretch"):
        show_prompts(on_map)


parts, by = choose_parts()
chosen_prompts = choose_prompts() if by == colorings.TO_PROMPTS else None
coloring = colorings.of(by, run, said, chosen_prompts)
recipe = cart.all_of(parts) if parts else None
chosen = selection.mask(recipe) if recipe else None
on_map = selection.on_map(run, recipe) if recipe else None
shown = np.ones(len(places), bool) if on_map is None else on_map
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
