"""Which preference pairs push the model towards the behavior?"""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core.specs.behaviors import SCORE_NAMES, Score
from core.specs.recipes import Above, Contains, Recipe, TopK, Where
from core.specs.steps import ExplainSpec
from pages.components import (
    cache,
    cart,
    enrichment,
    glossary,
    jobs,
    lazy,
    pickers,
    plan,
    reading,
    selection,
    text,
    theme,
    validity,
    words,
)

SCORES: tuple[Score, ...] = ("discriminant", "gated", "similarity")  # columns of the table
BINS = 60  # of the chart of scores

st.title("Which pairs taught it?")
st.caption("Preference pairs, ordered by how far each pushes the reference towards the behavior.")
project = cache.project()
behavior = pickers.behavior(project, traced=True)
plan.warn_if_not_risen(project, behavior)
run = pickers.ranking(project, behavior)
if run is None:
    st.stop()
validity.banner(run)
summary = cache.summary(run)
table = cache.table(run, "ranking")
pairs = cache.pairs(project.pairs)


def choose_score() -> Score:
    """The score that pairs are ordered by; the one that the ranking was made with comes first."""
    default = cache.ranking_score(run)
    scores = [score for score in SCORE_NAMES if score in table]
    return pickers.choose_one(
        "Order by",
        sorted(scores, key=lambda score: score != default),
        SCORE_NAMES.__getitem__,
        key="score",
        widget=st.segmented_control,
        required=True,
        help=f"“{glossary.TITLE}” explains each score.",
    )


def choose_pairs() -> tuple[Recipe, pd.DataFrame]:
    """What is selected, the top k or all above a threshold, and the pairs that it selects."""
    suggested = summary["suggested_k"] or 1
    by = st.segmented_control(
        "Select",
        ["top k", "above a threshold"],
        default="top k",
        required=True,
        key="how",
        help="A number of pairs from the top, or every pair whose score is above a value.",
    )
    if by == "top k":
        k = st.slider(
            "k, pairs", 1, len(ranking), suggested, key="k", bind="query-params",
            help="How many pairs from the top; suggested is where the scores drop.",
        )  # fmt: skip
        st.caption(f"The ranking itself suggests {summary['suggested_k']:,}.")
        return TopK(rank=run, k=k, score=score), ranking.head(k)
    low, high = float(ranking["score"].min()), float(ranking["score"].max())
    start = float(ranking["score"].iloc[suggested - 1])  # takes as many as are suggested
    threshold = st.slider(
        "Threshold", low, high, start, format="%.3f", key="threshold",
        help="Every pair whose score is at least this.",
    )  # fmt: skip
    recipe = Above(rank=run, threshold=threshold, score=score)
    return recipe, ranking[ranking["score"] >= threshold]


def show_scores(selected: pd.DataFrame) -> None:
    """The distribution of the scores, with what is selected on top of the rest."""
    st.caption("Distribution of the scores: most pairs push nowhere, a few push far.")
    edges = np.histogram_bin_edges(ranking["score"].dropna(), BINS)
    figure = go.Figure()
    for name, rows, color in (
        ("all pairs", ranking, theme.GREY),
        ("selected", selected, theme.CATEGORIES[1]),
    ):  # counted here: 378k scores would be megabytes for the browser to count
        counts = np.histogram(rows["score"].dropna(), edges)[0]
        figure.add_bar(x=(edges[:-1] + edges[1:]) / 2, y=counts, name=name, marker={"color": color})
    figure.update_layout(barmode="overlay", bargap=0, height=260, **theme.LAYOUT)
    figure.update_xaxes(title=SCORE_NAMES[score])
    figure.update_yaxes(title="pairs (log)", type="log", dtick=1)
    low, middle, high = ranking["score"].quantile([0, 0.5, 1])
    alt = (
        f"Histogram of {SCORE_NAMES[score]}: from {low:.3f} over the median {middle:.3f} to "
        f"{high:.3f}; {len(selected):,} of {len(ranking):,} pairs are selected."
    )
    st.plotly_chart(figure, key="scores", alt=alt)


@st.fragment  # who reads on need not wait for the charts above
def show_rows() -> None:
    """The ranking, and the pair that was chosen in full, else the first one."""
    left, middle = st.columns([2, 3])
    sources = left.multiselect(
        "Source", selection.options("source"), key="source", bind="query-params"
    )
    phrase = middle.text_input(
        "Containing", key="phrase", bind="query-params", max_chars=200,
        help="A phrase in the prompt or either completion; capitals do not matter.",
    )  # fmt: skip
    position = ranking["position"].to_numpy()
    matches = position >= 0
    if sources:
        matches &= selection.mask(Where(column="source", values=tuple(sources)))[position]
    if phrase:
        matches &= selection.mask(pickers.containing(phrase))[position]
    numbers = np.flatnonzero(matches)
    if not len(numbers):
        st.info("No pair matches.")
        return
    facts = ranking[["rank", *SCORES, "uid"]].set_index("uid")
    number = st.column_config.NumberColumn
    reading.show(
        position[numbers],
        lambda pair: show_pair(pair, facts),
        key=f"rank-{run}-{score}",
        facts=facts,
        columns={name: number(SCORE_NAMES[name], format="%.3f") for name in SCORES},
    )


def show_pair(pair: pd.Series, facts: pd.DataFrame) -> None:
    """Its rank, and the pair by its score."""
    st.text(f"rank {facts['rank'][pair['uid']]:,} of {len(ranking):,}")
    words.show_scored(pair, run)


def show_spans() -> None:
    """The spans that contribute most, and the pairs that contain one; or how to compute them."""
    spec = ExplainSpec(rank=run)
    label = f"Split the scores of the {spec.top} best pairs over their words"
    spans = words.spans(spec, label)
    if spans is not None:
        show_pairs_with(spans)


def show_pairs_with(span: pd.Series) -> None:
    """How many of all pairs contain a span, their mean score, and all of them for the cart."""
    ranking_score = cache.ranking_score(run)
    recipe = Contains(column=span["side"], phrase=span["text"])
    chosen = selection.mask(recipe)
    values = selection.by_pair(run, ranking_score, project.pairs)
    mean = pd.Series(values[chosen]).mean()
    st.text(
        f"“{text.visible(span['text'])}” is in {span['side']} of {chosen.sum():,} of all pairs. "
        f"Their mean {SCORE_NAMES[ranking_score]} is {mean:.3f}, that of all pairs is "
        f"{np.nanmean(values):.3f}."
    )
    cart.offer(recipe, count=int(chosen.sum()), key="span", why="contain words that teach it")


glossary.show(
    *("Pair", "Similarity", "Gated similarity", "Gated discriminant", "Other scores"),
    *("Remove, flip", "Split-half cosine", "Held-out AUC", "Sparse, diffuse"),
)
score = choose_score()
ranking = selection.ranking(run, score, project.pairs)
left, right = st.columns(2)
with left:
    recipe, selected = choose_pairs()
    cart.offer(recipe, count=len(selected), key="ranking", why=f"{behavior.name}, by ranking")
    show_scores(selected)
with right:
    enrichment.show(pairs, selected["uid"], key="ranking")
st.header("The pairs, highest score first")
show_rows()
lazy.expander("The words that teach it", show_spans, key="spans")
lazy.expander(
    "Two orders side by side",
    lambda: validity.show_agreement(table, len(selected), key="ranking"),
    key="two-orders",
)
lazy.expander(
    "The vector, layer by layer, and how concentrated its attribution is",
    lambda: validity.show_layers(run),
    key="layers",
)
jobs.command(cache.store().spec(run))
