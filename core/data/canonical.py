"""Parquet files of our own: every cell is in its final form, so that rows need not be looked at.

A mark in the file's metadata says so. Somebody may have changed the file since, so what is read is
checked: texts that say something, two that differ, every uid once. Where that does not hold, the
file is read like any other (core.data.pairs).
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.data import parquet

MARK = b"pairtrace"  # in the Parquet metadata
FORM = b"pairs 1"
ROWS = 65_536  # at a time, of those that are all kept
GROUP = 16_384  # rows that are written together
TEXTS = ("uid", "prompt", "chosen", "rejected", "source")


def marked(table: pa.Table) -> pa.Table:
    """The table with the sign that its cells are in our own form."""
    return table.replace_schema_metadata({**(table.schema.metadata or {}), MARK: FORM})


def is_marked(path: Path) -> bool:
    """Whether a file says that it is one of our own."""
    if path.suffix.lower() != ".parquet" or not path.is_file():
        return False
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError, ValueError):
        return False
    return (schema.metadata or {}).get(MARK) == FORM and set(TEXTS) <= set(schema.names)


def write(path: Path, tables: Iterable[pa.Table]) -> None:
    """Write tables of one form as they come; `GROUP` rows or a few more are in memory."""
    groups = _grouped(tables)
    first = next(groups)
    notes = pa.Table.from_pandas(first.to_pandas(), preserve_index=False).schema
    schema = marked(first.replace_schema_metadata(notes.metadata)).schema
    with pq.ParquetWriter(path, schema) as writer:
        for group in chain([first], groups):
            writer.write_table(group.cast(schema))


def _grouped(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        if sum(map(len, held)) >= GROUP:
            yield pa.concat_tables(held).combine_chunks()
            held = []
    if any(map(len, held)):
        yield pa.concat_tables(held).combine_chunks()


def read(path: Path) -> pd.DataFrame | None:
    """All rows; None where the file is not our own, or does not hold what it says."""
    if not is_marked(path):
        return None
    parts = list(_batches(path, ROWS))
    if not _holds(parts):
        return None
    rows = pa.concat_tables(parts)
    return rows.replace_schema_metadata(None).to_pandas()  # pandas' own notes may say anything


def batches(
    path: Path, rows: int, columns: Sequence[str] | None = None
) -> Iterator[pa.Table] | None:
    """The same, some rows at a time, or only some columns; the file is first read to check it."""
    if not is_marked(path) or not _holds(_batches(path, rows, TEXTS)):
        return None
    return _batches(path, rows, columns)


def _batches(path: Path, rows: int, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    with parquet.readable(path):
        for batch in parquet.batches(path, rows, columns):
            yield pa.Table.from_batches([batch])


def _holds(parts: Iterable[pa.Table]) -> bool:
    uids = []
    for part in parts:
        if not all(_says_something(part[name]) for name in TEXTS):
            return False
        if not pc.all(pc.not_equal(part["chosen"], part["rejected"])).as_py():
            return False
        uids += part["uid"].chunks
    known = pa.chunked_array(uids, pa.string() if not uids else uids[0].type)
    return len(known) > 0 and len(known.unique()) == len(known)


def _says_something(column: pa.ChunkedArray) -> bool:
    """Whether every cell is text that is not empty."""
    text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if not text or column.null_count:
        return False
    return bool(pc.all(pc.greater(pc.utf8_length(column), 0)).as_py())
