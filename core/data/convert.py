"""Copy a preference set of any shape into one Parquet file in our own form, in constant memory.

Two passes: the first finds the columns' types and the set's health, the second writes. The copy is
what an investigation reads from then on: it cannot change under it, and opens in a second.
"""

from collections.abc import Callable, Mapping
from glob import escape
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow.parquet as pq

from core.data import schema as typed
from core.data.canonical import marked
from core.data.pairs import SKIPPED, check_columns, nothing_usable, pair_of, stream_pairs
from core.data.quality import Examination, Health
from core.data.readers import files, kind, read_records
from core.errors import UserError
from core.storage.atomic import sweep, writing_atomic

PACKED = 3  # characters per byte of gzip

Tick = Callable[[int], None]  # hears how many more rows were seen


class Preview(NamedTuple):
    """The first rows of a file: its columns, the pairs they make, and those that make none."""

    columns: list[str]
    pairs: pd.DataFrame
    skipped: pd.DataFrame


def preview(path: Path, columns: Mapping[str, str] | None = None, n: int = 5) -> Preview:
    """What the first `n` rows would become; columns that are missing are an error."""
    known = check_columns(columns or {})
    lines = list(islice(read_records(path), n))
    names = list(dict.fromkeys(name for line in lines for name in line.value))
    pairs: list[object] = []
    skipped: list[object] = []
    for row, record, reason in lines:
        pair, left_out = (None, (row, "", "", reason)) if reason else pair_of(row, record, known)
        (pairs if pair else skipped).append(pair or left_out)
    return Preview(names, pd.DataFrame(pairs), pd.DataFrame(skipped, columns=SKIPPED))


def import_pairs(
    source: Path,
    out: Path,
    columns: Mapping[str, str] | None = None,
    *,
    tick: Tick = lambda _rows: None,
) -> Health:
    """Write `out` (Parquet) and tell the set's health."""
    if out.suffix != ".parquet":
        raise UserError(f"{out}: end the name in .parquet.")
    sweep(out.parent, f"{escape(out.name)}.*")
    health, kinds = _survey(source, columns, tick)
    schema = marked(typed.schema(kinds).empty_table()).schema
    with writing_atomic(out) as part, pq.ParquetWriter(part, schema, compression="zstd") as writer:
        for chunk in stream_pairs(source, columns):
            if chunk.pairs:
                writer.write_table(marked(typed.chunk(chunk.pairs, kinds)))
            tick(len(chunk.pairs) + len(chunk.skipped))
    return health


def _survey(
    source: Path, columns: Mapping[str, str] | None, tick: Tick
) -> tuple[Health, typed.Kinds]:
    examination = Examination()
    kinds: typed.Kinds = {}
    for chunk in stream_pairs(source, columns):
        examination.see(chunk)
        typed.see(kinds, chunk.pairs)
        tick(len(chunk.pairs) + len(chunk.skipped))
    health = examination.health()
    if not health.summary["n_pairs"]:
        raise UserError(nothing_usable(source, health.rows[SKIPPED]))
    return health, kinds


class Size(NamedTuple):
    """How large a set is: exact for Parquet, else from the first rows and the file's size."""

    rows: int
    exact: bool
    characters_per_pair: float


def size(path: Path, columns: Mapping[str, str] | None = None, n: int = 200) -> Size:
    """Without reading all of it."""
    looked_at = preview(path, columns, n)
    texts = looked_at.pairs[["prompt", "chosen", "rejected"]] if len(looked_at.pairs) else None
    mean = 0.0 if texts is None else float(texts.map(len).sum(axis=1).mean())
    parts = files(path)
    if all(kind(part) == ".parquet" for part in parts):
        return Size(sum(pq.read_metadata(part).num_rows for part in parts), True, mean)
    total = sum(part.stat().st_size * (PACKED if part.suffix == ".gz" else 1) for part in parts)
    seen = len(looked_at.pairs) + len(looked_at.skipped)
    if seen < n:
        return Size(seen, True, mean)
    return Size(int(total / max(mean, 1.0)), False, mean)
