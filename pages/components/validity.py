"""Whether a ranking can be trusted: validity of its vector, concentration, agreement of scores.

Draws what the rank step measured; decides nothing itself.
"""

from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core.attribution.evaluation.metrics import overlap_at, rank_correlation
from core.specs.behaviors import SCORE_NAMES
from pages.components import cache, glossary, pickers, text, theme

TERMS = (  # of the glossary
    *("Layer", "Behavior vector", "Split-half cosine", "Held-out AUC", "Chance"),
    *("Sparse, diffuse", "Random directions"),
)
AGREEMENT_HELP = (
    "Rank correlation: Spearman's, over all pairs; 1 is the same order. Overlap: share of the "
    "best k by one score that are among the best k by the other."
)
DRAWN = 3000  # points of the chart of two scores, beside the best k of each
HEIGHT = 280  # pixels of each of the three charts


def banner(rank: str) -> None:
    """One line: valid or not, at which layer, from how many prompts; and doubts in the model."""
    summary = cache.summary(rank)
    verdict = (
        f"Behavior vector at layer {summary['layer']}, from {summary['n_prompts_passed']} of "
        f"{summary['n_prompts']} prompts. {summary['verdict']}"
    )
    for line in cache.doubts(rank):
        st.warning(text.escape(line))
    left, right = st.columns(2)
    if summary["valid"]:
        left.success(verdict)
    else:
        left.warning(f"{verdict} Do not trust this order.")
    with right:
        _show_concentration(summary.get("concentration"))
    if summary.get("filter_used") == "rising":
        st.caption(
            "The reference already shows this behavior here and there, so the vector comes from "
            "all prompts on which the policy shows it more often."
        )
    if summary["n_undefined"]:
        n, total = summary["n_undefined"], summary["n_pairs"]
        st.caption(f"Without a defined similarity: {n:,} of {total:,} pairs; they come last.")


def _show_concentration(concentration: dict[str, Any] | None) -> None:
    """Sparse, undecided or diffuse, with the evidence."""
    if concentration is None:
        st.caption("Whether it is sparse or diffuse was not measured yet: rank again to see.")
        return
    boxes = {"sparse": st.success, "undecided": st.info}
    boxes.get(concentration["verdict"], st.warning)(concentration["evidence"])


def show_layers(rank: str) -> None:
    """Split-half and AUC over the layers, and the concentration, each against its null."""
    layers = cache.table(rank, "layers")
    left, middle, right = st.columns(3)
    alt = _in_words(layers, "split_half", "Split-half cosine")
    left.plotly_chart(_split_half(layers), key="split-half", alt=alt)
    alt = _in_words(layers, "auc", "Held-out AUC")
    middle.plotly_chart(_auc(layers), key="auc", alt=alt)
    concentration = cache.summary(rank).get("concentration")
    if concentration:
        chart = _concentration(cache.table(rank, "concentration"))
        right.plotly_chart(chart, key="concentration", alt=concentration["evidence"])
    glossary.show(*TERMS)


def show_agreement(ranking: pd.DataFrame, k: int, *, key: str) -> None:
    """Two scores of the same pairs: a scatter with the best k of each, overlap and correlation."""
    scores = [name for name in SCORE_NAMES if name in ranking]
    left, right, place = st.columns([2, 2, 3], vertical_alignment="bottom")
    with left:
        x = pickers.choose_one("Across", scores, SCORE_NAMES.__getitem__, key=f"across-{key}")
    others = [name for name in scores if name != x]
    with right:
        y = pickers.choose_one("Up", others, SCORE_NAMES.__getitem__, key=f"up-{key}")
    a, b = ranking[x].to_numpy(float), ranking[y].to_numpy(float)
    k = min(max(k, 1), len(ranking))
    place.text(
        f"Overlap of the best {k:,}: {overlap_at(a, b, k):.0%} (by chance "
        f"{k / len(ranking):.0%}). Rank correlation {rank_correlation(a, b):.2f}.",
        help=AGREEMENT_HELP,
    )
    alt = f"Every pair by {SCORE_NAMES[x]} and {SCORE_NAMES[y]}; the line above has the numbers."
    st.plotly_chart(_scatter(ranking, x, y, k), key=f"agreement-{key}", alt=alt)


def _in_words(layers: pd.DataFrame, column: str, name: str) -> str:
    """The values of all layers beside chance, as a chart's text alternative."""
    rows = zip(layers["layer"], layers[column], layers[f"null_{column}"], strict=True)
    parts = [f"layer {layer} {value:.2f} (chance {null:.2f})" for layer, value, null in rows]
    return f"{name} by layer: {', '.join(parts)}."


def _split_half(layers: pd.DataFrame) -> go.Figure:
    low, high = layers["split_half_low"], layers["split_half_high"]
    figure = go.Figure(
        [
            *_band(layers["layer"], low, high, "95% of splits", "rgba(0,114,178,.25)"),
            _line(layers, "split_half", "split-half cosine"),
            _line(layers, "null_split_half", "chance"),
        ]
    )
    return _by_layer(figure, "split-half cosine", [-0.05, 1.05])


def _auc(layers: pd.DataFrame) -> go.Figure:
    lines = [_line(layers, "auc", "held-out AUC"), _line(layers, "null_auc", "chance")]
    return _by_layer(go.Figure(lines), "held-out AUC", [0.35, 1.05])


def _by_layer(figure: go.Figure, title: str, span: list[float]) -> go.Figure:
    figure.update_xaxes(title="layer", dtick=1)
    figure.update_yaxes(title=title, range=span)
    return figure.update_layout(height=HEIGHT, **theme.LAYOUT)


def _concentration(shares: pd.DataFrame) -> go.Figure:
    """Share of all attribution that the best pairs have, over their share of the pairs."""
    low, high = shares["null_low"], shares["null_high"]
    figure = go.Figure(_band(shares["share"], low, high, "random directions", theme.GREY))
    figure.add_scatter(
        x=shares["share"], y=shares["attribution"], name="this behavior", mode="lines+markers",
        line={"color": theme.CATEGORIES[0]},
    )  # fmt: skip
    figure.update_xaxes(
        title="best pairs (log)",
        type="log",
        tickvals=[0.005, 0.05, 1],  # more would overlap on a small screen
        tickangle=0,
        tickformat=".1~%",
    )
    figure.update_yaxes(title="share of attribution", range=[0, 1.05], tickformat=".0%")
    return figure.update_layout(height=HEIGHT, **theme.LAYOUT)


def _scatter(ranking: pd.DataFrame, x: str, y: str, k: int) -> go.Figure:
    best_x, best_y = (set(ranking[name].nlargest(k).index) for name in (x, y))
    rest = ranking.drop(index=list(best_x | best_y))
    sample = rest.sample(min(DRAWN, len(rest)), random_state=0)
    groups = {
        f"{'a sample of ' if len(sample) < len(rest) else ''}neither": (sample, theme.GREY),
        f"only {SCORE_NAMES[x]}": (ranking.loc[sorted(best_x - best_y)], theme.CATEGORIES[0]),
        f"only {SCORE_NAMES[y]}": (ranking.loc[sorted(best_y - best_x)], theme.CATEGORIES[1]),
        "both": (ranking.loc[sorted(best_x & best_y)], theme.CATEGORIES[2]),
    }
    figure = go.Figure()
    for (name, (rows, color)), symbol in zip(groups.items(), theme.SYMBOLS, strict=False):
        figure.add_scattergl(
            x=rows[x], y=rows[y], name=f"{name} ({len(rows):,})", mode="markers",
            marker={"color": color, "size": 5, "symbol": symbol}, hoverinfo="skip",
        )  # fmt: skip
    figure.update_xaxes(title=SCORE_NAMES[x])
    figure.update_yaxes(title=SCORE_NAMES[y])
    return figure.update_layout(height=380, **theme.LAYOUT)


def _band(
    x: pd.Series, low: pd.Series, high: pd.Series, name: str, color: str
) -> tuple[go.Scatter, go.Scatter]:
    """The area between two curves."""
    edge = {"x": x, "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    bottom = go.Scatter(y=low, showlegend=False, **edge)
    return bottom, go.Scatter(y=high, fill="tonexty", fillcolor=color, name=name, **edge)


def _line(layers: pd.DataFrame, column: str, name: str) -> go.Scatter:
    null = {"dash": "dot", "color": theme.MODEL["reference"]}
    return go.Scatter(
        x=layers["layer"],
        y=layers[column],
        name=name,
        mode="lines+markers",
        line=null if name == "chance" else {"color": theme.CATEGORIES[0]},
    )
