"""The map's figures, and the region that was drawn on it.

A lasso or box is kept as the polygon that was drawn, never as a list of points: which pairs lie
inside is decided in `core`, from all pairs, whether or not they are on the screen. The chart's
own selection would be sent again with every rerun, so the polygon is copied at once and the
chart gets a new key.

Up to `DOTS` pairs are dots. More are a picture (`core.discovery.raster`) under an even sample of
invisible dots, which carry the gesture and say what lies under the mouse.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import NDArray
from plotly.colors import sample_colorscale

from core.discovery import raster
from core.discovery.raster import View
from core.intervention.recipes import InPolygon
from pages import _clusters, _colors, _text
from pages._coloring import Coloring

DOTS = 5_000  # pairs that are drawn one by one
CARRIERS = 3_000  # invisible dots above the picture of a larger map
CELLS = 48  # per axis: every cell that holds a pair has a carrier
IN_LEGEND = 8  # kinds; the rest is counted
HEIGHT = 440  # pixels: the map and the choices above it fit a laptop
LABEL = 40  # letters of a name in a chart
STEPS = 33  # colors of a scale in a picture
PAIRS, PROMPTS = "region", "prompt-region"  # where the polygon of each map is kept
Mask = NDArray[np.bool_]


def region(run: str, kept: str = PAIRS) -> InPolygon | None:
    """The region that was drawn on a run's map of pairs (or of prompts)."""
    drawn = st.session_state.get(kept)
    if not drawn or drawn["discover"] != run:
        return None
    return InPolygon(**drawn)


def clear(kept: str = PAIRS) -> None:
    """Forget a region, and redraw its chart without it."""
    _keep(None, kept)


def view(run: str, whole: View) -> View:
    """The part of the map that is looked at."""
    chosen = st.session_state.get(f"view-{run}")
    return View(**chosen) if chosen else whole


def look_at(run: str, part: View | None) -> None:
    """Zoom to a part of the map; None shows all of it."""
    st.session_state[f"view-{run}"] = asdict(part) if part else None
    _keep(st.session_state.get(PAIRS), PAIRS)


def draw(
    figure: go.Figure, run: str, kept: str = PAIRS, *, alt: str, then: dict[str, str] | None = None
) -> None:
    """A map, ready for a lasso or a box; a gesture also sets the widgets named in `then`."""
    key = f"{kept}-{run}-{_drawing(kept)}"
    st.plotly_chart(
        figure,
        key=key,
        on_select=lambda: _copy(run, key, kept, then or {}),
        selection_mode=("lasso", "box"),
        config={"scrollZoom": True, "displaylogo": False},
        alt=alt,
    )


def figure(
    places: pd.DataFrame, coloring: Coloring, *, shown: Mask, outline: InPolygon | None, part: View
) -> go.Figure:
    """Pairs, `uid, x, y`, in their colors; those that are not `shown` stay as grey context."""
    made = go.Figure()
    if len(places) > DOTS:
        _pictured(made, places, coloring, shown, part)
    else:
        _dotted(made, places, coloring, shown)
    _outlined(made, outline)
    styled(made)
    made.update_xaxes(range=[part.left, part.right])
    made.update_yaxes(range=[part.low, part.high])
    return made


def prompts_figure(prompts: pd.DataFrame, outline: InPolygon | None) -> go.Figure:
    """The prompts' own map: by `value`, how far the selected pairs push each, else by group."""
    made = go.Figure()
    if "value" in prompts:
        color = scale("mean push of the selected pairs", prompts["value"].to_numpy(float))
        made.add_trace(_dots(prompts, "", {**color, "size": 8}, showlegend=False))
    else:
        for position, (name, rows) in enumerate(prompts.groupby("group")):
            color, symbol = _colors.of_category(position)
            made.add_trace(_dots(rows, label(name), {"color": color, "symbol": symbol, "size": 8}))
    _outlined(made, outline)
    return styled(made)


def drawn_note(n: int) -> str:
    """What to say where not every pair is a dot."""
    return ", drawn as a picture; a selection counts all" if n > DOTS else ""


def label(text: object) -> str:
    """Words of the data set in a chart, where Plotly would act on tags."""
    return _text.short(text, LABEL).replace("<", "‹").replace("&", "＆")


def _dotted(made: go.Figure, places: pd.DataFrame, coloring: Coloring, shown: Mask) -> None:
    if not shown.all():
        marker = {"color": _colors.GREY, "size": 4}
        made.add_trace(_dots(places[~shown], "not selected", marker))
    if coloring.values is not None:
        limit = limit_of(coloring.values)
        color = scale(coloring.title, coloring.values[shown], limit)
        made.add_trace(_dots(places[shown], coloring.title, {**color, "size": 6}))
        return
    present = np.unique(coloring.kinds[shown & (coloring.kinds >= 0)])
    for number, kind in enumerate(present):
        name, rows = coloring.names[kind], places[shown & (coloring.kinds == kind)]
        named = number < IN_LEGEND
        made.add_trace(_dots(rows, label(name), _marker(int(kind), name), showlegend=named))
    _count_rest(made, len(present))


def _pictured(
    made: go.Figure, places: pd.DataFrame, coloring: Coloring, shown: Mask, part: View
) -> None:
    x, y = places["x"].to_numpy(), places["y"].to_numpy()
    if coloring.values is not None:
        limit = limit_of(coloring.values)
        source = raster.of_values(
            x, y, coloring.values / limit, shown=shown, colors=scale_colors(), view=part
        )
        made.add_trace(legend("", scale(coloring.title, [0.0], limit), entry=False))
    else:
        source = _picture_of_kinds(x, y, coloring, shown, part)
        _explained(made, coloring, shown)
    made.add_layout_image(
        source=source,
        xref="x",
        yref="y",
        x=part.left,
        y=part.high,
        sizex=part.right - part.left,
        sizey=part.high - part.low,
        sizing="stretch",
        layer="below",
    )
    carriers = places.iloc[_carriers(x, y, part)]
    made.add_trace(_dots(carriers, "", {"size": 5, "opacity": 0}, showlegend=False))


def _picture_of_kinds(x: NDArray, y: NDArray, coloring: Coloring, shown: Mask, part: View) -> str:
    """Colors repeat after eight kinds, as in the legend."""
    n = len(_colors.CATEGORIES)
    kinds = np.where(coloring.kinds >= 0, coloring.kinds % n, n)
    if _clusters.NOISE in coloring.names:
        kinds[coloring.kinds == coloring.names.index(_clusters.NOISE)] = n
    colors = [*_colors.CATEGORIES, _colors.NOISE]
    return raster.of_kinds(x, y, kinds, shown=shown, colors=colors, view=part)


def _explained(made: go.Figure, coloring: Coloring, shown: Mask) -> None:
    """A legend for the picture: the first kinds by name, the others counted."""
    if not shown.all():
        made.add_trace(legend("not selected", {"color": _colors.GREY}))
    present = np.unique(coloring.kinds[shown & (coloring.kinds >= 0)])
    for kind in present[:IN_LEGEND]:
        marker = _marker(int(kind), coloring.names[kind]) | {"symbol": "circle"}
        made.add_trace(legend(label(coloring.names[kind]), marker))
    _count_rest(made, len(present))


def _count_rest(made: go.Figure, n: int) -> None:
    """Say how many kinds the legend leaves out: they would cover the map."""
    if n > IN_LEGEND:
        made.add_trace(legend(f"and {n - IN_LEGEND} more", {"color": "rgba(0,0,0,0)"}))


def _carriers(x: NDArray, y: NDArray, part: View) -> NDArray[np.int64]:
    """Rows of one point per occupied cell of the view, and of a random rest; always the same."""
    seen = np.flatnonzero((x >= part.left) & (x <= part.right) & (y >= part.low) & (y <= part.high))
    seen = np.random.default_rng(0).permutation(seen)
    column = ((x[seen] - part.left) / (part.right - part.left) * CELLS).astype(np.int64)
    row = ((y[seen] - part.low) / (part.high - part.low) * CELLS).astype(np.int64)
    _, first = np.unique(row * (CELLS + 1) + column, return_index=True)
    rest = np.setdiff1d(np.arange(min(CARRIERS, len(seen))), first)
    return seen[np.concatenate([first, rest])[: max(CARRIERS, len(first))]]


def _copy(run: str, key: str, kept: str, then: Mapping[str, str]) -> None:
    """Keep the polygon of a gesture."""
    polygon = _polygon(st.session_state[key]["selection"])
    _keep({"discover": run, **polygon} if polygon else None, kept)
    if polygon:
        st.session_state.update(then)


def _keep(drawn: dict[str, Any] | None, kept: str) -> None:
    """Remember a region, and give its chart a new key."""
    st.session_state[kept] = drawn
    st.session_state[f"{kept}-drawing"] = _drawing(kept) + 1


def _polygon(selection: Mapping[str, Any]) -> dict[str, tuple[float, ...]] | None:
    """Corners of the first lasso, or of the first box."""
    if selection["lasso"]:
        drawn = selection["lasso"][0]
        return {"x": tuple(drawn["x"]), "y": tuple(drawn["y"])} if len(drawn["x"]) >= 3 else None
    if selection["box"]:
        (left, right), (low, high) = (selection["box"][0][axis][:2] for axis in ("x", "y"))
        return {"x": (left, right, right, left), "y": (low, low, high, high)}
    return None


def _dots(
    rows: pd.DataFrame, name: str, marker: dict[str, Any], *, showlegend: bool = True
) -> go.Scattergl:
    return go.Scattergl(
        x=rows["x"].to_numpy(np.float32),
        y=rows["y"].to_numpy(np.float32),
        mode="markers",
        name=name,
        marker=marker,
        text=[label(said) for said in rows["label" if "label" in rows else "uid"]],
        hovertemplate="%{text}<extra></extra>",
        showlegend=showlegend,
        unselected={"marker": {"opacity": 0.25 if "opacity" not in marker else 0}},
    )


def legend(name: str, marker: dict[str, Any], *, entry: bool = True) -> go.Scattergl:
    """An entry of the legend, or a color scale, without a point."""
    return go.Scattergl(
        x=[None], y=[None], mode="markers", name=name, marker=marker, showlegend=entry
    )


def _marker(kind: int, name: str) -> dict[str, Any]:
    if name == _clusters.NOISE:
        return {"color": _colors.NOISE, "symbol": "circle-open", "size": 5}
    color, symbol = _colors.of_category(kind)
    return {"color": color, "symbol": symbol, "size": 6}


def limit_of(values: NDArray[np.floating]) -> float:
    """Where a color scale around 0 ends: beyond nearly all values."""
    known = np.abs(values[np.isfinite(values)])
    return float(np.quantile(known, 0.995)) or 1.0 if len(known) else 1.0


def scale(title: str, values: Any, limit: float | None = None) -> dict[str, Any]:
    """A color scale around 0, its title beside it."""
    end = limit_of(np.asarray(values, float)) if limit is None else limit
    return {
        "color": values,
        "colorscale": _colors.DIVERGING,
        "cmin": -end,
        "cmax": end,
        "showscale": True,
        "colorbar": {
            "title": {"text": label(title), "side": "right"},
            "thickness": 10,
            "outlinewidth": 0,
            "nticks": 5,
            "x": 1.0,
        },
    }


def scale_colors() -> list[str]:
    """The color scale around 0, in steps."""
    scale = sample_colorscale(_colors.DIVERGING, STEPS, colortype="tuple")
    return ["#" + bytes(round(255 * part) for part in color).hex() for color in scale]


def _outlined(made: go.Figure, outline: InPolygon | None) -> None:
    """Show the region that was drawn."""
    if outline is not None:
        line = {"dash": "dot", "width": 2, "color": _colors.CATEGORIES[1]}
        made.add_shape(type="path", path=_path(outline), line=line)


def _path(outline: InPolygon) -> str:
    corners: Sequence[str] = [f"{x},{y}" for x, y in zip(outline.x, outline.y, strict=True)]
    return "M" + "L".join(corners) + "Z"


def styled(made: go.Figure) -> go.Figure:
    """The same figure without axes, sized as maps are."""
    hidden = {"showticklabels": False, "title": None, "zeroline": False, "showgrid": False}
    made.update_xaxes(**hidden)
    made.update_yaxes(**hidden, scaleanchor=None)
    made.update_layout(
        height=HEIGHT,
        dragmode="lasso",
        margin={"l": 5, "r": 5, "t": 5, "b": 5},
        legend={"orientation": "h", "y": 0, "yanchor": "top", "x": 0, "itemsizing": "constant"},
        hoverlabel={"namelength": 0},
    )
    return made


def _drawing(kept: str) -> int:
    return int(st.session_state.get(f"{kept}-drawing", 0))
