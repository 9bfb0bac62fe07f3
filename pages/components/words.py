"""A pair whose words are colored by their part of a score, and what another text would score.

Parts come from runs of the explain step: those of the best pairs, or of one pair on demand.
"""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from core.attribution.contributions import in_a_line
from core.data.chat import display_text
from core.specs.behaviors import SCORE_NAMES
from core.specs.recipes import Where, edit_of
from core.specs.steps import ExplainSpec
from pages.components import cache, cart, jobs, pickers, text

SIDES = ("chosen", "rejected")
SPANS = (
    "Word sequences that contribute most to the scores of the explained pairs, all pairs together. "
    "A word counts in one sequence only."
)
TRY = (
    "Delete or replace words, and the pair is scored again: one pass of the model, no training. "
    "The new text can go into the edit as a rewrite; the old one is kept with it."
)


def rankings() -> dict[str, str]:
    """The newest finished rank run of each behavior."""
    store = cache.store()
    runs = reversed(cache.ranked_behaviors().items())
    return {name: run for run, name in runs if store.state(run) == "finished"}


def spans(spec: ExplainSpec, label: str) -> pd.Series | None:
    """The spans that contribute most to some pairs, as a table; the one that is clicked.

    None without any, or before the run is finished, which is offered.
    """
    run = jobs.panel(spec, label)
    if run is None:
        return None
    table = cache.table(run, "spans")
    if table.empty:
        st.info("No sequence of words contributes in two pairs or more.")
        return None
    st.caption(f"{SPANS} Score: {SCORE_NAMES[cache.summary(run)['method']]}.")
    number = st.column_config.NumberColumn
    event = st.dataframe(
        table.assign(text=table["text"].map(text.short)),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"spans-{run}",
        column_order=["side", "text", "value", "n_pairs"],
        column_config={
            "text": "words",
            "value": number("part of the scores", format="%.2f"),
            "n_pairs": number("explained pairs with it"),
        },
    )
    return table.iloc[pickers.clicked_row(event, len(table))]


def name_by_spans(uids: Sequence[str], *, key: str) -> str:
    """What some pairs teach in one line, from their spans, once it is wanted as a name; else ""."""
    runs = rankings()
    if not runs:
        st.info("Rank a behavior first: its score is what is split over the words.")
        return ""
    behavior = st.selectbox("Score for", list(runs), key=f"name-{key}", width=420)
    spec = ExplainSpec(rank=runs[behavior], uids=tuple(uids))
    label = f"Split the scores of its {len(uids)} strongest pairs over their words"
    if spans(spec, label) is None:
        return ""
    line = in_a_line(cache.table(cache.store().run_id(spec), "spans"))
    st.text(text.visible(line))
    return line if st.button("Use as name", key=f"use-{key}") else ""


def show_pair(pair: pd.Series, *, key: str) -> None:
    """One pair; where a behavior is ranked, its words can be colored by their part of the score."""
    runs = rankings()
    if not runs:
        text.show_pair(pair)
        return
    explained = [name for name, run in runs.items() if cache.tokens(run, pair["uid"]) is not None]
    behavior = st.selectbox(
        "Color words by their part of the score for", [None, *runs],
        index=list(runs).index(explained[0]) + 1 if explained else 0,
        format_func=lambda name: text.escape(name or "nothing"),
        key=f"words-{key}-{pair['uid']}", width=420,
    )  # fmt: skip
    if behavior is None:
        text.show_pair(pair)
        jobs.warm()  # colors may be wanted next
    else:
        show_scored(pair, runs[behavior])


def show_scored(pair: pd.Series, rank: str) -> None:
    """One pair by the score of a ranking, and a place to try other texts."""
    tokens = cache.tokens(rank, pair["uid"])
    text.show_pair(pair, tokens)
    jobs.warm()
    if tokens is None:
        spec = ExplainSpec(rank=rank, uids=(pair["uid"],))
        with st.expander("Color these words by their part of the score"):
            jobs.panel(spec, "Color the words of this pair")
    with st.expander("Try another text"):
        _try(pair, rank, tokens)


def _try(pair: pd.Series, rank: str, before: pd.DataFrame | None) -> None:
    """Another text of one side: its score beside that of the old one, and the way into the cart."""
    st.caption(TRY)
    plain = [side for side in SIDES if display_text(pair[side]) == pair[side]]
    if not plain:
        st.info("Both completions are conversations, which are not rewritten here.")
        return
    uid = pair["uid"]
    side = st.segmented_control("Side", plain, default=plain[0], required=True, key=f"side-{uid}")
    new = st.text_area("New text", pair[side], key=f"text-{uid}-{side}", max_chars=text.LONG)
    if new == pair[side] or not new.strip():
        st.caption("Change the text first." if new.strip() else "A completion cannot be empty.")
        return
    row = st.container(horizontal=True)
    if row.button("Add the rewrite to the edit cart", key=f"rewrite-{uid}-{side}"):
        rewrite = {"side": side, "old": pair[side], "new": new}
        with text.refusing():
            recipe = Where(column="uid", values=(uid,))
            cart.catalog().add(edit_of("rewrite", recipe, rewrite=rewrite), who=cart.who())
            st.rerun()
    spec = ExplainSpec(rank=rank, uids=(uid,), chosen=None, rejected=None)
    after = jobs.panel(spec.model_copy(update={side: new}), "Score this text")
    if after is not None:
        _compare(before, cache.table(after, "tokens"), rank)


def _compare(before: pd.DataFrame | None, after: pd.DataFrame, rank: str) -> None:
    score = SCORE_NAMES[cache.ranking_score(rank)]
    value = after["value"].sum()
    if before is None:
        st.metric(f"New {score}", f"{value:.3f}")
    else:
        change = value - before["value"].sum()
        st.metric(f"New {score}", f"{value:.3f}", f"{change:+.3f}", delta_color="inverse")
    text.colored_sides(after)
