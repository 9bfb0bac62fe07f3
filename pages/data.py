"""The preference pairs: their quality, and any of them to read, sorted by any column."""

from functools import partial

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from core.data.pair_table import PairColumns
from core.data.quality import LISTED as EXAMINED
from core.report.export import formula_safe
from core.specs.recipes import Contains, Where
from core.specs.steps import CheckSpec
from pages.components import cache, jobs, lazy, pickers, selection, text

ROWS = 100  # on one page
LISTED = 1_000  # rows of a result of the check, beside a file with all of them
LONG_TEXTS = ("prompt", "chosen", "rejected")
COUNTS = {
    "n_rows": "rows",
    "n_pairs": "usable pairs",
    "n_skipped": "left out",
    "n_prompts": "prompts",
    "n_sources": "sources",
}
UNUSUAL = {
    "n_contradicted": "contradicted by an earlier pair",
    "n_same_text": "repeat an earlier pair under another uid",
    "n_echoes": "completion begins with the prompt",
    "n_conversations": "prompt of several turns, or with a system prompt",
    "n_long_ends": "completion of several turns, or a tool call",
    "n_tools": "with tools",
    "n_no_source": "without a source",
}

st.title("Preference pairs")
st.caption(
    "What the policy was trained on. Look here before trusting anything that is built on it."
)
project = cache.project()


def show_quality() -> None:
    """The check run: advice first, then counts, reasons and sources."""
    spec = CheckSpec(pairs=project.pairs, model=project.reference)
    run = jobs.panel(spec, "Check the pairs")
    if run is None:
        return
    summary = cache.summary(run)
    for column, (name, label) in zip(st.columns(len(COUNTS)), COUNTS.items(), strict=True):
        column.metric(label, f"{summary[name]:,}")
    for advice in summary["advice"]:
        st.warning(advice)
    if not summary["advice"]:
        st.success("No problem was found.")
    lazy.expander(
        "Reasons, unusual pairs and lengths", partial(show_details, run, summary), key="details"
    )
    lazy.expander(f"Sources ({summary['n_sources']:,})", partial(show_sources, run), key="sources")


def show_sources(run: str) -> None:
    """How many pairs each source has, the largest first."""
    share = st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1)
    listed = show_first(cache.table(run, "sources"), "sources")
    st.dataframe(listed, hide_index=True, column_config={"share": share})


def show_details(run: str, summary: dict) -> None:
    """Why rows are left out, what is unusual about others, and how long the texts are."""
    counts = pd.DataFrame([{"what": what, "pairs": summary[n]} for n, what in UNUSUAL.items()])
    left, right = st.columns(2)
    left.dataframe(counts, hide_index=True, height="content")
    if summary["reasons"]:
        right.dataframe(pd.DataFrame(summary["reasons"]), hide_index=True, height="content")
    for unit, name in (("characters", "characters"), ("tokens (of a sample)", "tokens")):
        table = {field: numbers for field, numbers in summary.get(name, {}).items() if numbers}
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
            f"All {what} (CSV)", lambda: formula_safe(table).to_csv(index=False).encode(),
            f"{what}.csv", "text/csv", width="stretch", on_click="ignore",
        )  # fmt: skip
    return table.head(LISTED)


def show_rows() -> None:
    """A hundred pairs at a time; the one that is clicked in full."""
    left, middle, right = st.columns([3, 3, 2], vertical_alignment="bottom")
    order = left.selectbox(
        "Sort by", ["file order", *pairs], key="sort", bind="query-params",
        help="By any column of the file.",
    )  # fmt: skip
    sources = ["all", *selection.options("source")]
    source = middle.selectbox("Source", sources, key="source", bind="query-params")
    descending = right.toggle("Descending", key="descending", bind="query-params")
    left, middle, right = st.columns([3, 3, 2], vertical_alignment="bottom")
    phrase = left.text_input(
        "Containing", key="phrase", bind="query-params", max_chars=200,
        help="A phrase, in the field on the right; press Enter to search.",
    )  # fmt: skip
    where = middle.selectbox("in", LONG_TEXTS, key="in", bind="query-params")
    numbers = np.arange(len(pairs))
    if order != "file order":
        numbers = _order(pairs, str(pairs.path), str(order), descending)
    if source != "all":
        numbers = numbers[selection.mask(Where(column="source", values=(source,)))[numbers]]
    if phrase:
        numbers = numbers[selection.mask(Contains(column=where, phrase=phrase))[numbers]]
    page = pickers.page(right, len(numbers), ROWS)
    rows = pairs.rows(numbers[page])
    first = [name for name in ("uid", *LONG_TEXTS, "source") if name in pairs]
    event = st.dataframe(
        rows[[*first, *rows.columns.difference(first, sort=False)]].map(text.short),
        hide_index=True,
        on_select="rerun",
        selection_mode=pickers.ANYWHERE,
        key=f"rows-{order}-{descending}-{page.start}-{source}-{where}-{phrase}",
    )
    st.caption(f"{len(numbers):,} pairs. Click a row to read the whole pair.")
    for number in pickers.clicked_rows(event, len(rows)):
        text.show_pair(rows.iloc[number])


@st.cache_resource(show_spinner="Sorting …", max_entries=16)
def _order(_pairs: PairColumns, copy: str, column: str, descending: bool) -> NDArray[np.int32]:
    """Cached by the path of the copy on disk: a changed file has another."""
    return _pairs.order(column, descending=descending)


show_quality()
st.header("Read the pairs")
pairs = cache.pairs(project.pairs)
show_rows()
