"""Two orders of the same pairs side by side: where they agree, and what only one of them takes."""

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core.attribution.evaluation.metrics import overlap_at, rank_correlation
from core.specs.behaviors import SCORE_NAMES
from pages.components import pickers, theme

DRAWN = 3000  # points of a chart, beside those that one of the orders takes
HELP = (
    "Rank correlation: Spearman's, over all pairs; 1 is the same order. Overlap: share of the "
    "best k of one that are among the best k of the other."
)


def show(ranking: pd.DataFrame, k: int, *, key: str) -> None:
    """A scatter of two scores with the best k of each, their overlap at k and rank correlation."""
    known = [name for name in SCORE_NAMES if name in ranking]
    left, right, said = st.columns([2, 2, 3], vertical_alignment="bottom")
    with left:
        one = pickers.choose_one("Across", known, SCORE_NAMES.__getitem__, key=f"across-{key}")
    others = [name for name in known if name != one]
    with right:
        other = pickers.choose_one("Up", others, SCORE_NAMES.__getitem__, key=f"up-{key}")
    a, b = ranking[one].to_numpy(float), ranking[other].to_numpy(float)
    k = min(max(k, 1), len(ranking))
    said.text(
        f"Overlap of the best {k:,}: {overlap_at(a, b, k):.0%} (by chance "
        f"{k / len(ranking):.0%}). Rank correlation {rank_correlation(a, b):.2f}.",
        help=HELP,
    )
    st.plotly_chart(_scatter(ranking, one, other, k), key=f"agreement-{key}")


def _scatter(ranking: pd.DataFrame, one: str, other: str, k: int) -> go.Figure:
    best = [set(ranking[name].nlargest(k).index) for name in (one, other)]
    rest = ranking.drop(index=list(best[0] | best[1]))
    drawn = rest.sample(min(DRAWN, len(rest)), random_state=0)
    groups = {
        f"{'a sample of ' if len(drawn) < len(rest) else ''}neither": (drawn, theme.GREY),
        f"only {SCORE_NAMES[one]}": (ranking.loc[sorted(best[0] - best[1])], theme.CATEGORIES[0]),
        f"only {SCORE_NAMES[other]}": (ranking.loc[sorted(best[1] - best[0])], theme.CATEGORIES[1]),
        "both": (ranking.loc[sorted(best[0] & best[1])], theme.CATEGORIES[2]),
    }
    figure = go.Figure()
    for (name, (rows, color)), symbol in zip(groups.items(), theme.SYMBOLS, strict=False):
        figure.add_trace(
            go.Scattergl(
                x=rows[one],
                y=rows[other],
                name=f"{name} ({len(rows):,})",
                mode="markers",
                marker={"color": color, "size": 5, "symbol": symbol},
                hoverinfo="skip",
            )
        )
    figure.update_xaxes(title=SCORE_NAMES[one])
    figure.update_yaxes(title=SCORE_NAMES[other])
    figure.update_layout(height=380, **theme.LAYOUT)
    return figure
