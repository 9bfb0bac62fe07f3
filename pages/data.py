"""The preference pairs: what is wrong with them, and any of them to read, sorted by any column."""

import pandas as pd
import streamlit as st

from core.errors import UserError
from core.runs import tables
from core.runs.specs import CheckSpec
from pages import _jobs, _loaders, _text

ROWS = 100  # on one page
LONG_TEXTS = ("prompt", "chosen", "rejected")

st.title("Preference pairs")
st.caption(
    "What the policy was trained on. Look here before trusting anything that is built on it."
)
project = _loaders.project()
store = _loaders.store()
path = store.pairs(project.pairs)


def show_health() -> None:
    """The check run: advice first, then counts, reasons and sources."""
    spec = CheckSpec(pairs=project.pairs, model=project.reference)
    run = _jobs.panel(spec, "Check the pairs")
    if run is None:
        return
    found = _loaders.summary(run)
    counts = [("rows", "n_rows"), ("usable pairs", "n_pairs"), ("left out", "n_skipped")]
    counts += [("prompts", "n_prompts"), ("sources", "n_sources")]
    for column, (label, name) in zip(st.columns(len(counts)), counts, strict=True):
        column.metric(label, f"{found[name]:,}")
    for advice in found["advice"]:
        st.warning(advice)
    if not found["advice"]:
        st.success("Nothing odd was found.")
    with st.expander("Reasons, oddities and lengths"):
        show_details(run, found)
    with st.expander(f"Sources ({found['n_sources']})"):
        share = st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1)
        sources = _loaders.table(run, "sources")
        st.dataframe(sources, hide_index=True, column_config={"share": share})


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
    listed = _loaders.table(run, "rows")
    if len(listed):
        st.caption("Row by row")
        st.dataframe(listed.map(_text.short), hide_index=True)


def show_rows() -> None:
    """A hundred pairs at a time; the one that is clicked in full."""
    columns = tables.columns(path)
    left, middle, right = st.columns([2, 2, 1], vertical_alignment="bottom")
    order = left.selectbox(
        "Sort by",
        ["file order", *columns],
        key="sort",
        bind="query-params",
        help="By any column of the file.",
    )
    source = middle.selectbox("Source", ["all", *sources()], key="source", bind="query-params")
    descending = right.toggle("Descending", key="descending", bind="query-params")
    left, middle, right = st.columns([2, 2, 1], vertical_alignment="bottom")
    phrase = left.text_input(
        "Containing",
        key="phrase",
        bind="query-params",
        max_chars=200,
        help="A phrase, in the field on the right; press Enter to search.",
    )
    where_in = middle.selectbox("in", LONG_TEXTS, key="in", bind="query-params")
    where: dict[str, object] = {} if source == "all" else {"source": source}
    if phrase:
        where[where_in] = tables.Containing(phrase)
    n = matches(tuple(where.items()))
    pages = max(1, -(-n // ROWS))
    number = right.number_input(f"Page of {pages:,}", 1, pages, key="page")
    rows = tables.table(
        path,
        where=where,
        order=None if order == "file order" else order,
        descending=descending,
        limit=ROWS,
        offset=ROWS * (number - 1),
    )
    first = [name for name in ("uid", *LONG_TEXTS, "source") if name in columns]
    shown = rows[[*first, *rows.columns.difference(first, sort=False)]].map(_text.short)
    event = st.dataframe(
        shown,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"rows-{order}-{descending}-{number}-{where}",
    )
    st.caption(f"{n:,} pairs. Click a row to read the whole pair.")
    if event.selection.rows:
        _text.show_pair(rows.iloc[event.selection.rows[0]])


@st.cache_data(show_spinner=False, max_entries=8)
def _sources(file: str, changed: float) -> list[str]:
    return list(tables.counts(path, "source").index)


def sources() -> list[str]:
    """The sources, most frequent first."""
    return _sources(str(path), path.stat().st_mtime)


@st.cache_data(show_spinner="Counting …", max_entries=64)
def _matches(file: str, changed: float, where: tuple) -> int:
    return int(tables.counts(path, "source", where=dict(where)).sum())


def matches(where: tuple) -> int:
    """How many pairs a filter leaves."""
    return _matches(str(path), path.stat().st_mtime, where)


show_health()
st.header("Read the pairs")
if path.suffix == ".parquet":
    show_rows()
else:
    raise UserError(
        f"{path.name}: only Parquet is read row by row. Bring it into the workspace with "
        "`pairtrace data import`, and name the copy in project.toml."
    )
