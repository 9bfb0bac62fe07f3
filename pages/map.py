"""What kinds of pairs are there, and which ones act alike?"""

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray
from streamlit.delta_generator import DeltaGenerator

from core.discovery import push
from core.intervention.recipes import Contains, Recipe, Where
from core.intervention.selection import inside
from core.runs.labels import Labels
from pages import _cart, _choose, _clusters, _jobs, _loaders, _map, _recipes, _selection, _text

PUSH = "push on prompts"
TERMS = """
- **The map** (UMAP): every dot is one preference pair. Pairs lie together when training on them
  pushes the model the same way on the same prompts. Distances across the map mean little,
  neighborhoods mean a lot.
- **Cluster** (HDBSCAN): a dense group on the map, found without labels. Pairs between groups
  belong to no cluster.
- **Push**: the mean similarity of pairs to prompts. With pairs selected, the map of prompts shows
  which of them they push; color by *push on prompts* to see which pairs push some prompts.
- **Draw** with the lasso or the box to select a region; the selection is kept as the region
  itself, so that it can be replayed on the data. The choices above the map do the same by name.
"""

st.title("What kinds of pairs are there?")
st.caption("Pairs that push the model the same way lie together. Draw around a group to read it.")
project = _loaders.project()
run = _choose.discovery(project)
if run is None:
    st.stop()
output = _loaders.store().output(run)
prompts = _loaders.table(run, "prompts")
places = _loaders.table(run, "pairs").set_index("uid", drop=False)
pairs = _loaders.pairs(project.pairs)
said: Labels = _clusters.labels(run)
names = _clusters.names(run)


def choose_parts(one: DeltaGenerator, two: DeltaGenerator, three: DeltaGenerator) -> list[Recipe]:
    """The selection as a list of conditions: clusters, sources, words, and the region drawn."""
    with one:
        clusters = _choose.many(
            "Clusters", list(names), lambda known: _text.short(names[known], 60), key="cluster"
        )
    sources = two.multiselect(
        "Source", sorted(pairs["source"].unique()), key="source", bind="query-params"
    )
    phrase = three.text_input("Chosen completion contains", key="phrase", bind="query-params")
    parts: list[Recipe] = [_clusters.recipe(said, clusters)] if clusters else []
    if sources:
        parts.append(Where(column="source", values=tuple(sources)))
    if phrase:
        parts.append(Contains(column="chosen", phrase=phrase))
    drawn = _map.region(run)
    return [*parts, drawn] if drawn else parts


def color_by(column: DeltaGenerator) -> tuple[pd.DataFrame, str]:
    """The points with what colors them, and the color scale's title."""
    rankings = {
        f"gated similarity to {behavior}": rank
        for rank, behavior in _loaders.ranked_behaviors().items()
        if _loaders.store().state(rank) == "finished"
    }
    options = ["cluster", "source", PUSH, *rankings]
    by = column.selectbox("Color by", options, key="color", bind="query-params")
    points = places[["x", "y"]].assign(label=places["uid"])
    if by in rankings:
        scores = _loaders.table(rankings[by], "ranking").set_index("uid")["gated"]
        return points.assign(value=scores.reindex(places.index)), by
    if by == PUSH:
        return points.assign(value=push.by_pairs(output, choose_prompts())), "mean push"
    if by == "cluster":
        groups = _clusters.membership(run, places, said).map(names).fillna(_map.NOISE)
        order = [*names.values(), _map.NOISE]
    else:
        groups = pairs["source"].reindex(places.index).fillna("unknown")
        order = list(groups.value_counts().index)
    shown = {name: _text.short(name, 40) for name in order}
    category = pd.Categorical(groups.map(shown), list(dict.fromkeys(shown.values())))
    return points.assign(category=category), by


def choose_prompts() -> NDArray[np.bool_]:
    """(prompt,) a mask: the region drawn on their map, else one kind of prompts."""
    kinds = prompts["group"] + ", " + prompts["condition"]
    drawn = _map.region(run, _map.PROMPTS)
    if drawn is not None:
        left, right = st.columns([4, 1], vertical_alignment="center")
        chosen = inside(prompts["x"].to_numpy(), prompts["y"].to_numpy(), drawn.x, drawn.y)
        left.text(f"Onto the {chosen.sum():,} prompts in the region that was drawn on their map.")
        right.button("Clear", on_click=_map.clear, args=(_map.PROMPTS,), key="clear-prompts")
        return chosen
    kind = st.selectbox("Push onto", sorted(set(kinds)), key="kind", bind="query-params")
    return (kinds == kind).to_numpy()


def show_prompts(selected: pd.DataFrame) -> None:
    """The map of prompts; with pairs selected, by how far these push each prompt."""
    st.caption(f"{len(prompts):,} prompts: near each other when the same pairs push them")
    points = prompts.assign(label=prompts["prompt_id"] + ", " + prompts["condition"])
    if len(selected):
        points["value"] = push.on_prompts(output, places.index.isin(selected.index))
    figure = _map.prompts_figure(points, _map.region(run, _map.PROMPTS))
    _map.draw(
        figure,
        run,
        _map.PROMPTS,
        alt="Map of the prompts: prompts that the same pairs push lie together.",
        then={"color": PUSH},
    )


def show_statistics(selected: pd.DataFrame) -> None:
    """What the selection is made of, next to all pairs."""
    facts = st.columns(4)
    facts[0].metric("Pairs", f"{len(selected):,}")
    facts[1].metric("Share of all", f"{len(selected) / len(places):.1%}")
    clusters = places.loc[places.index.isin(selected["uid"]), "cluster"]
    facts[2].metric("Clusters touched", int(clusters[clusters >= 0].nunique()))
    facts[3].metric("In no cluster", f"{(clusters == -1).mean():.0%}" if len(clusters) else "–")
    left, right = st.columns(2)
    left.dataframe(_selection.sources(selected, pairs), hide_index=True, key="selected-sources")
    scores = _selection.scores(selected["uid"])
    if len(scores):
        right.dataframe(scores, key="selected-scores", hide_index=True)


def show_pairs(selected: pd.DataFrame) -> None:
    """The pairs behind the selection, and one of them in full."""
    rows = selected.head(200)
    st.caption(f"{len(rows):,} of {len(selected):,} pairs, in the order of the file.")
    shown = rows.assign(
        **{name: rows[name].map(_text.short) for name in ("prompt", "chosen", "rejected")}
    )
    event = st.dataframe(
        shown,
        hide_index=True,
        height=260,
        on_select="rerun",
        selection_mode="single-row",
        key="selected-pairs",
        column_order=["prompt", "chosen", "rejected", "source", "uid"],
    )
    _text.show_pair(rows.iloc[_choose.row(event, len(rows))])


with st.expander("What these words mean"):
    st.markdown(TERMS)
*choices, colors = st.columns([3, 2, 2, 2])
parts = choose_parts(*choices)
points, title = color_by(colors)
recipe = _cart.both(parts) if parts else None
selected = _selection.pairs(project.pairs, recipe) if recipe else pairs.iloc[:0]
shown = pd.Series(places.index.isin(selected.index) if recipe else True, index=places.index)
lost = int(places["x"].isna().sum())
nowhere = f"; {lost:,} have no place, because their vector is undefined" if lost else ""
left, right = st.columns([3, 2], gap="large")
with left:
    st.caption(f"{len(places):,} pairs" + _map.drawn_note(len(places)) + nowhere)
    figure = _map.figure(points, inside=shown, outline=_map.region(run), title=title)
    _map.draw(figure, run, alt="Map of the pairs: pairs that push the same way lie together.")
with right:
    show_prompts(selected)
if recipe is None:
    st.info("Nothing is selected. Draw around a group, or choose clusters, sources or words above.")
else:
    st.subheader("Selection")
    st.text(_text.visible(_recipes.words(recipe, _loaders.ranked_behaviors())))
    if _map.region(run):
        st.button("Clear the region", on_click=_map.clear, key="clear-region")
    if selected.empty:
        st.warning("No pair satisfies all of these.")
    else:
        show_statistics(selected)
        _cart.offer(recipe, count=len(selected), key="map", why="from the map")
        show_pairs(selected)
_jobs.command(_loaders.store().spec(run))
