"""Colors, markers and layouts of charts and tables, and light or dark, the same on every page.

Colors are from Okabe and Ito's palette, which every kind of color vision tells apart, legible on
light and dark; markers differ too, so that no meaning depends on color alone. Words of the data
set are plain text in charts: Plotly would act on tags.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import NDArray
from plotly.colors import sample_colorscale

from core.report.figures import COLORS as MODEL
from core.report.figures import LAYOUT, plain
from pages.components.text import short

__all__ = ["LAYOUT", "MODEL"]

DASH = {"edited": "solid", "random control": "dot", "baseline": "dash"}
GREY = "rgba(128,128,128,.35)"  # context
NOISE = "#8A9099"  # pairs in no cluster
CATEGORIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#9A8B1F")
CATEGORIES += ("#8C6BB1",)
PROMPTS = CATEGORIES[::-1]  # prompt clusters, so that none looks like the cluster beside it
DIVERGING = [[0, "#0072B2"], [0.5, "#B9BFC6"], [1, "#D55E00"]]  # around 0, light and dark
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "x", "cross", "star")
HEIGHT = 440  # pixels: the map and the choices above it fit a laptop
LABEL = 40  # letters of a name in a chart
STEPS = 33  # colors of a scale in a picture
STYLES = Path(__file__).parents[2] / "assets" / "app.css"
# Streamlit's menu switches between light and dark, but keeps the choice for the page that the
# browser loaded first, by its path. This copies it to the paths of all pages.
SAME_ON_EVERY_PAGE = """
<script>
if (!window.themeIsKept) {
  window.themeIsKept = true;
  const name = (path) => `stActiveTheme-${path}-v2`;
  const loaded = new URL(performance.getEntriesByType("navigation")[0].name).pathname;
  const copy = () => {
    const choice = localStorage.getItem(name(loaded));
    if (choice) for (const path of PATHS) localStorage.setItem(name(path), choice);
  };
  document.addEventListener("click", () => setTimeout(copy, 100));
}
</script>
"""


def show(paths: Sequence[str]) -> None:
    """The styles of the app, and one choice of light or dark for the pages at all paths."""
    st.html(STYLES)
    script = SAME_ON_EVERY_PAGE.replace("PATHS", json.dumps(["/", *(f"/{path}" for path in paths)]))
    st.html(script, unsafe_allow_javascript=True)


def of_category(position: int) -> tuple[str, str]:
    """Color and marker of the n-th category; the pair repeats after 56."""
    symbol = SYMBOLS[(position // len(CATEGORIES)) % len(SYMBOLS)]
    return CATEGORIES[position % len(CATEGORIES)], symbol


def of_prompts(position: int) -> tuple[str, str]:
    """Color and marker of the n-th group of prompts: open, where pairs are filled."""
    symbol = SYMBOLS[position % len(SYMBOLS)]
    return PROMPTS[position % len(PROMPTS)], f"{symbol}-open"


def label(text: object, length: int = LABEL) -> str:
    """Words of the data set in a chart."""
    return plain(short(text, length))


def legend(name: str, marker: dict[str, Any], *, entry: bool = True) -> go.Scattergl:
    """An entry of the legend, or a color scale, without a point."""
    return go.Scattergl(
        x=[None], y=[None], mode="markers", name=name, marker=marker, showlegend=entry
    )


def limit_of(values: NDArray[np.floating]) -> float:
    """Where a color scale around 0 ends: beyond nearly all values."""
    finite = np.abs(values[np.isfinite(values)])
    return float(np.quantile(finite, 0.995)) or 1.0 if len(finite) else 1.0


def scale(title: str, values: Any, limit: float | None = None) -> dict[str, Any]:
    """A color scale around 0, its title beside it."""
    end = limit_of(np.asarray(values, float)) if limit is None else limit
    title_text = {"text": label(title), "side": "right"}
    return {
        "color": values,
        "colorscale": DIVERGING,
        "cmin": -end,
        "cmax": end,
        "showscale": True,
        "colorbar": {"title": title_text, "thickness": 10, "outlinewidth": 0, "nticks": 5, "x": 1},
    }


def scale_colors() -> list[str]:
    """The color scale around 0, in steps."""
    colors = sample_colorscale(DIVERGING, STEPS, colortype="tuple")
    return ["#" + bytes(round(255 * part) for part in color).hex() for color in colors]


def styled(figure: go.Figure) -> go.Figure:
    """The same figure without axes, sized as maps are."""
    hidden = {"showticklabels": False, "title": None, "zeroline": False, "showgrid": False}
    figure.update_xaxes(**hidden)
    figure.update_yaxes(**hidden, scaleanchor=None)
    return figure.update_layout(
        height=HEIGHT,
        dragmode="lasso",
        margin={"l": 5, "r": 5, "t": 5, "b": 5},
        legend={"orientation": "h", "y": 0, "yanchor": "top", "x": 0, "itemsizing": "constant"},
        hoverlabel={"namelength": 0},
    )


def columns(widths: Mapping[str, int], formats: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Columns of a table by name: widths in pixels, printf formats of those that are numbers."""
    formats = formats or {}
    return {
        name: st.column_config.NumberColumn(format=formats[name], width=widths.get(name))
        if name in formats
        else st.column_config.Column(width=widths[name])
        for name in {**widths, **formats}
    }
