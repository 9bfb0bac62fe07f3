"""Which preference pairs push the model towards the behavior?"""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core.specs.behaviors import SCORE_NAMES
from core.specs.recipes import Above, Recipe, TopK, Where
from pages.components import (
    cache,
    cart,
    enrichment,
    jobs,
    lazy,
    pickers,
    plan,
    search_box,
    selection,
    text,
    theme,
)
from pages.components.rank import score_agreement, validity

TEXTS = ("prompt", "chosen", "rejected")
SCORES = ("discriminant", "gated", "similarity")  # columns of the table
SHOWN = 200  # rows on the screen at a time
BINS = 60  # of the chart of scores
TERMS = """
- **Similarity**: cosine between the behavior vector and the pair's own vector (mean over the
  chosen minus mean over the rejected tokens), from −1 to 1. It asks: does this pair push the
  model *that way*?
- **Gated similarity**: similarity times how alike the pair's prompt is to the prompts that show
  the behavior. It also asks: does it push *there*? Honest pairs that push the same way in other
  contexts drop out.
- **Discriminant** (the default): the gated similarity, but to the direction that best *tells apart*
  completions that show the behavior from those that do not. What completions vary in anyway (their
  topic, their length) counts for less. It finds the most on data whose truth is known.
- **Bilinear**: gated similarity taken prompt by prompt, then averaged. **Bank**: the best
  similarity to any single prompt. **Projection**: similarity times how far the pair moves.
- **Chosen / rejected**: the completion that training preferred, and the one it pushed away from.
- **Remove** leaves the pair out; **flip** swaps chosen and rejected, which is twice the dose.
"""

st.title("Which pairs taught it?")
st.caption("Preference pairs, ordered by how far each pushes the reference towards the behavior.")
project = cache.project()
behavior = pickers.behavior(project, traced=True)
plan.warn_if_not_risen(project, behavior)
run = pickers.ranking(project, behavior)
if run is None:
    st.stop()
validity.banner(run)
known = cache.summary(run)
ranking = cache.table(run, "ranking")
pairs = cache.pairs(project.pairs)


def order() -> pd.DataFrame:
    """The ranking by the score that was chosen, best first; shared, read-only."""
    score = st.segmented_control(
        "Order by",
        [name for name in SCORE_NAMES if name in ranking],
        default=cache.ranking_score(run),
        required=True,
        key="score",
        bind="query-params",
        help="How the push of a pair is measured; “What these words mean” explains each.",
    )
    return selection.ranking(run, str(score), project.pairs)


def choose() -> tuple[Recipe, pd.DataFrame]:
    """What is selected: the top k, or all above a threshold; and the pairs it holds."""
    score = str(st.session_state["score"])
    suggested = known["suggested_k"] or 1
    how = st.segmented_control(
        "Select",
        ["top k", "above a threshold"],
        default="top k",
        required=True,
        key="how",
        help="A number of pairs from the top, or every pair that scores above a value.",
    )
    if how == "top k":
        k = st.slider(
            "k, pairs",
            1,
            len(ordered),
            suggested,
            key="k",
            bind="query-params",
            help="How many pairs from the top; the suggestion is where the scores part.",
        )
        st.caption(f"The ranking itself suggests {known['suggested_k']:,}.")
        return TopK(rank=run, k=k, score=score), ordered.head(k)
    low, high = float(ordered["score"].min()), float(ordered["score"].max())
    start = float(ordered["score"].iloc[suggested - 1])  # takes as many as are suggested
    threshold = st.slider(
        "Threshold",
        low,
        high,
        start,
        format="%.3f",
        key="threshold",
        help="Every pair whose score is at least this.",
    )
    return (
        Above(rank=run, threshold=threshold, score=score),
        ordered[ordered["score"] >= threshold],
    )


def show_scores(selected: pd.DataFrame) -> None:
    """How the scores spread, with what is selected on top of the rest."""
    st.caption("How the scores spread: most pairs push nowhere, a few push far.")
    scores = ordered["score"].dropna()
    edges = np.histogram_bin_edges(scores, BINS)
    figure = go.Figure()
    for name, rows, color in (
        ("all pairs", ordered, theme.GREY),
        ("selected", selected, theme.CATEGORIES[1]),
    ):  # counted here: 378k scores would be megabytes for the browser to count
        counts = np.histogram(rows["score"].dropna(), edges)[0]
        figure.add_bar(x=(edges[:-1] + edges[1:]) / 2, y=counts, name=name, marker={"color": color})
    figure.update_layout(barmode="overlay", bargap=0, height=260, **theme.LAYOUT)
    figure.update_xaxes(title=str(st.session_state["score"]))
    figure.update_yaxes(title="pairs (log)", type="log", dtick=1)
    st.plotly_chart(figure, key="scores")


@st.fragment  # who reads on need not wait for the charts above
def show_rows() -> None:
    """A page of the ranking, and the pair that was chosen in full, else the first one."""
    left, middle, right = st.columns([2, 3, 1])
    sources = left.multiselect(
        "Source",
        selection.options("source"),
        key="source",
        bind="query-params",
    )
    phrase = middle.text_input(
        "Containing",
        key="phrase",
        bind="query-params",
        max_chars=200,
        help="A phrase in the prompt or either completion; capitals do not matter.",
    )
    position = ordered["position"].to_numpy()
    kept = position >= 0
    if sources:
        kept &= selection.mask(Where(column="source", values=tuple(sources)))[position]
    if phrase:
        kept &= selection.mask(search_box.anywhere(phrase))[position]
    found = np.flatnonzero(kept)
    last = max(1, -(-len(found) // SHOWN))
    number = right.number_input(f"Page of {last}", 1, last, key="page")
    rows = ordered.iloc[found[(number - 1) * SHOWN : number * SHOWN]]
    texts = pairs.rows(rows["position"])[[*TEXTS, "source"]]
    rows = rows.join(texts, on="uid")
    chosen = picked(rows)
    if chosen is not None:
        st.text(f"rank {chosen['rank']:,} of {len(ordered):,}")
        text.show_pair(pairs.rows([chosen["position"]]).iloc[0])


def picked(rows: pd.DataFrame) -> pd.Series | None:
    """Draw rows as a table; the one that was clicked, else the first."""
    if rows.empty:
        st.info("No pair matches.")
        return None
    shown = rows.assign(
        **{name: rows[name].map(text.short) for name in ("prompt", "chosen", "rejected")}
    )
    event = st.dataframe(
        shown,
        hide_index=True,
        height=330,
        on_select="rerun",
        selection_mode="single-row",
        key=f"rows-{run}",
        column_order=["rank", *SCORES, "prompt", "chosen", "source", "uid"],
        column_config={name: st.column_config.NumberColumn(format="%.3f") for name in SCORES},
    )
    return rows.iloc[pickers.clicked_row(event, len(rows))]


with st.expander("What these words mean"):
    st.markdown(TERMS)
ordered = order()
left, right = st.columns(2)
with left:
    recipe, selected = choose()
    cart.offer(recipe, count=len(selected), key="ranking", why=f"{behavior.name}, by ranking")
    show_scores(selected)
with right:
    enrichment.show(pairs, selected["uid"], key="ranking")
st.header("The pairs, best first")
show_rows()
lazy.expander(
    "Two orders side by side",
    lambda: score_agreement.show(ranking, len(selected), key="ranking"),
    key="two-orders",
)
lazy.expander(
    "The vector, layer by layer, and how concentrated its attribution is",
    lambda: validity.show_layers(run),
    key="layers",
)
jobs.command(cache.store().spec(run))
