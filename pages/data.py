"""The preference pairs: what is wrong with them, and any of them to read, sorted by any column."""

from functools import partial

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from core.data.pair_table import PairColumns
from core.data.quality import LISTED as EXAMINED
from core.report.export_pairs import formula_safe
from core.specs.recipes import Contains, Where
from core.specs.steps import CheckSpec
from pages.components import cache, jobs, lazy, selection, text

ROWS = 100  # on one page
LISTED = 1_000  # of what the check found, beside a file with everything
LONG_TEXTS = ("prompt", "chosen", "rejected")

st.title("Preference pairs")
st.caption(
    "What the policy was trained on. Look here before trusting anything that is built on it."
)
project = cache.project()


def show_health() -> None:
    """The check run: advice first, then counts, reasons and sources."""
    spec = CheckSpec(pairs=project.pairs, model=project.reference)
    run = jobs.panel(spec, "Check the pairs")
    if run is None:
        return
    found = cache.summary(run)
    counts = [("rows", "n_rows"), ("usable pairs", "n_pairs"), ("left out", "n_skipped")]
    counts += [("prompts", "n_prompts"), ("sources", "n_sources")]
    for column, (label, name) in zip(st.columns(len(counts)), counts, strict=True):
        column.metric(label, f"{found[name]:,}")
    for advice in found["advice"]:
        st.warning(advice)
    if not found["advice"]:
        st.success("Nothing odd was found.")
    lazy.expander("Reasons, oddities and lengths", partial(show_details, run, found), key="details")
    lazy.expander(f"Sources ({found['n_sources']:,})", partial(show_sources, run), key="sources")


def show_sources(run: str) -> None:
    """How many pairs each source has, the largest first."""
    share = st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1)
    listed = show_first(cache.table(run, "sources"), "sources")
    st.dataframe(listed, hide_index=True, column_config={"share": share})


def show_details(run: str, found: dict) -> None:
    """Why rows are left out, what is odd about others, and how long the texts are."""
    odd = {
        "contradicted by an earlier pair": "n_contradicted",
        "repeat an earlier pair under another uid": "n_same_text",
        "completion begins with the prompt": "n_echoes",
        "prompt of several turns, or with a system prompt": "n_conversations",
        "completion of several turns, or a tool call": "n_long_ends",
        "with tools": "n_tools",
        "without a source": "n_no_source",
    }
    rows = [{"what": what, "pairs": found[name]} for what, name in odd.items()]
    left, right = st.columns(2)
    left.dataframe(pd.DataFrame(rows), hide_index=True, height="content")
    if found["reasons"]:
        right.dataframe(pd.DataFrame(found["reasons"]), hide_index=True, height="content")
    lengths = {"characters": found["characters"], "tokens (of a sample)": found.get("tokens", {})}
    for unit, known in lengths.items():
        table = {name: numbers for name, numbers in known.items() if numbers}
        if table:
            st.caption(f"Lengths in {unit}")
            st.dataframe(pd.DataFrame(table).T)
    listed = cache.table(run, "rows")
    if len(listed):
        cut = f", the first {len(listed):,}" if len(listed) == EXAMINED else ""
        st.caption(f"Row by row{cut}")
        st.dataframe(show_first(listed, "rows").map(text.short), hide_index=True)


def show_first(table: pd.DataFrame, what: str) -> pd.DataFrame:
    """As much of a table as a browser draws at once; all of it as a file where that is less."""
    if len(table) > LISTED:
        left, right = st.columns([3, 1], vertical_alignment="bottom")
        left.caption(f"The first {LISTED:,} of {len(table):,} {what}; the file has all of them.")
        right.download_button(
            f"All {what} (CSV)",
            lambda: formula_safe(table).to_csv(index=False).encode(),
            f"{what}.csv",
            "text/csv",
            width="stretch",
            on_click="ignore",
        )
    return table.head(LISTED)


def show_rows() -> None:
    """A hundred pairs at a time; the one that is clicked in full."""
    left, middle, right = st.columns([3, 3, 2], vertical_alignment="bottom")
    order = left.selectbox(
        "Sort by",
        ["file order", *pairs],
        key="sort",
        bind="query-params",
        help="By any column of the file.",
    )
    sources = selection.options("source")
    source = middle.selectbox("Source", ["all", *sources], key="source", bind="query-params")
    descending = right.toggle("Descending", key="descending", bind="query-params")
    left, middle, right = st.columns([3, 3, 2], vertical_alignment="bottom")
    phrase = left.text_input(
        "Containing",
        key="phrase",
        bind="query-params",
        max_chars=200,
        help="A phrase, in the field on the right; press Enter to search.",
    )
    where = middle.selectbox("in", LONG_TEXTS, key="in", bind="query-params")
    found = np.arange(len(pairs))
    if order != "file order":
        found = _order(pairs, str(pairs.path), str(order), descending)
    if source != "all":
        found = found[selection.mask(Where(column="source", values=(source,)))[found]]
    if phrase:
        found = found[selection.mask(Contains(column=where, phrase=phrase))[found]]
    pages = max(1, -(-len(found) // ROWS))
    number = right.number_input(f"Page of {pages:,}", 1, pages, key="page")
    rows = pairs.rows(found[ROWS * (number - 1) : ROWS * number])
    first = [name for name in ("uid", *LONG_TEXTS, "source") if name in pairs]
    shown = rows[[*first, *rows.columns.difference(first, sort=False)]].map(text.short)
    event = st.dataframe(
        shown,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"rows-{order}-{descending}-{number}-{source}-{where}-{phrase}",
    )
    st.caption(f"{len(found):,} pairs. Click a row to read the whole pair.")
    if event.selection.rows:
        text.show_pair(rows.iloc[event.selection.rows[0]])


@st.cache_resource(show_spinner="Sorting …", max_entries=16)
def _order(_pairs: PairColumns, copy: str, column: str, descending: bool) -> NDArray[np.int32]:
    """Kept by the copy on disk, which a changed file gets anew."""
    return _pairs.order(column, descending=descending)


show_health()
st.header("Read the pairs")
pairs = cache.pairs(project.pairs)
show_rows()
