"""A table of pairs, and one of them in full beside it: on Rank, Map and Clusters.

A click anywhere in a row reads its pair; J and K read the next one and the one before, over all
pages of the table. Call `show` in a fragment: who reads on need not wait for charts. The pane stays
in sight while the page scrolls, and scrolls by itself where a text is long.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray
from streamlit.delta_generator import DeltaGenerator

from core.data.pair_table import PairColumns
from pages.components import cache, pickers, shortcuts, text

SHOWN = 200  # pairs in the table at a time
TEXTS = ("prompt", "chosen", "rejected")
HEIGHT = 300  # pixels of the table
PANE = "reading-pane"
STYLE = f"""<style>
.st-key-{PANE} {{
  position: sticky; top: 3.75rem; max-height: calc(100vh - 4.5rem); overflow-y: auto;
  container-type: inline-size;
}}
@container (max-width: 600px) {{
  .st-key-{PANE} [data-testid="stHorizontalBlock"] {{ flex-wrap: wrap; gap: .5rem; }}
  .st-key-{PANE} [data-testid="stColumn"] {{ min-width: 100%; }}
}}
</style>"""
Positions = NDArray[np.integer]


def chosen(key: str) -> str | None:
    """The uid of the pair that somebody chose to read."""
    uid: str | None = st.session_state.get(f"reads-{key}")
    return uid


def read(key: str, uid: str | None) -> None:
    """Read this pair; None: the first of the table."""
    st.session_state[f"reads-{key}"] = uid


def show(
    positions: Positions,
    draw: Callable[[pd.Series], None],
    *,
    key: str,
    beside: bool = True,
    facts: pd.DataFrame | None = None,
    columns: Mapping[str, Any] | None = None,
) -> None:
    """Pairs by their positions in the file, in this order, and the one that is read (`draw`).

    `facts` are columns by uid that come before the texts; `columns` configures the table. `beside`
    puts the pane to the right of the table, else it is above it.
    """
    st.html(STYLE)
    pairs = cache.pairs(cache.project().pairs)
    number, position = _place(positions, pairs, key)
    if beside:
        table, pane = st.columns([5, 4])
    else:
        pane, table = st.container(), st.container()
    with pane.container(key=PANE):
        _show_buttons(positions, number, pairs, key)
        draw(pairs.rows([position]).iloc[0])
    _show_table(table, positions, facts, columns or {}, pairs, key)


def _place(positions: Positions, pairs: PairColumns, key: str) -> tuple[int | None, int]:
    """The pair that is read: its number in the table, if it is there, and its position."""
    uid = chosen(key)
    position = int(pairs.positions([uid])[0]) if uid is not None else -1
    if position < 0:
        return 0, int(positions[0])
    numbers = np.flatnonzero(positions == position)
    return (int(numbers[0]) if len(numbers) else None), position


def _show_buttons(positions: Positions, number: int | None, pairs: PairColumns, key: str) -> None:
    """Which pair of how many is read, and the way to the ones beside it."""

    def step(by: int) -> None:
        place = (0 if number is None else number + by) % len(positions)
        read(key, str(pairs.index[positions[place]]))
        st.session_state[f"page-{key}"] = place // SHOWN + 1

    row = st.container(horizontal=True, vertical_alignment="center")
    row.button("↑ Previous", on_click=step, args=(-1,), key=f"{key}-before",
               shortcut=shortcuts.PREVIOUS)  # fmt: skip
    row.button("↓ Next", on_click=step, args=(1,), key=f"{key}-after", shortcut=shortcuts.NEXT)
    where = f"{number + 1:,} of {len(positions):,}" if number is not None else "not in the table"
    row.caption(f"Pair {where}")


def _show_table(
    place: DeltaGenerator,
    positions: Positions,
    facts: pd.DataFrame | None,
    columns: Mapping[str, Any],
    pairs: PairColumns,
    key: str,
) -> None:
    page = slice(SHOWN)
    head = place.container(horizontal=True, vertical_alignment="bottom")
    words = head.empty()
    if len(positions) > SHOWN:
        st.session_state[f"page-{key}"] = min(
            st.session_state.get(f"page-{key}", 1), -(-len(positions) // SHOWN)
        )
        page = pickers.page(head, len(positions), SHOWN, key=f"page-{key}")
    rows = pairs.rows(positions[page])
    n = f"{len(rows):,} of " if len(rows) < len(positions) else ""
    words.caption(f"{n}{len(positions):,} pairs. Click a row to read it; J and K go on.")
    table = rows[["uid", "source"]].assign(**{name: rows[name].map(text.short) for name in TEXTS})
    first = [] if facts is None else list(facts)
    if facts is not None:
        table = table.join(facts)
    grid = f"rows-{key}-{hash(tuple(table['uid']))}"

    def choose() -> None:
        for number in pickers.clicked_rows(st.session_state[grid], len(table)):
            read(key, str(table["uid"].iloc[number]))

    place.dataframe(
        table, hide_index=True, height=HEIGHT, on_select=choose, key=grid,
        selection_mode=pickers.ANYWHERE, column_order=[*first, *TEXTS, "source", "uid"],
        column_config=columns,
    )  # fmt: skip
