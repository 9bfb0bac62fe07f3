"""Canonical pairs: one Parquet form that convert, edit and export write and that training reads.

Columns have their final types and every row is a usable pair, so that rows need not be parsed
again. A mark in the file's metadata says so. Somebody may have changed the file since, so it is
checked before it is trusted: texts that are not empty, chosen unlike rejected, unique uids. A file
that fails is read like any other (core.data.pairs). A copy to read by column is in
core.data.pair_table.
"""

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from glob import escape
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.data import parquet
from core.data import schema as typed
from core.data.pairs import CHUNK, TEXTS, Chunk, See, usable_pairs
from core.data.quality import Examination, Health
from core.data.readers import files, kind, opened, read_records
from core.data.trl_formats import as_record
from core.errors import UserError
from core.storage.atomic import sweep, writing_atomic

MARK, FORM = b"pairtrace", b"pairs 1"  # in the Parquet metadata
GROUP = 16_384  # rows of a row group, or a few more,
GROUP_BYTES = 1 << 26  # or this size
NAMES = ("uid", *TEXTS, "source")  # columns that every file has
WRITTEN = (".jsonl", ".jsonl.gz", ".parquet")

Write = Callable[[pa.Table], None]
OpenWriter = Callable[[pa.Schema], AbstractContextManager[Write]]


def is_marked(path: Path) -> bool:
    """Whether a file says that its pairs are canonical."""
    if path.suffix.lower() != ".parquet" or not path.is_file():
        return False
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError, ValueError):
        return False
    return (schema.metadata or {}).get(MARK) == FORM and set(NAMES) <= set(schema.names)


def batches(
    path: Path, rows: int, columns: Sequence[str] | None = None
) -> Iterator[pa.Table] | None:
    """Canonical pairs, some rows at a time, all columns or some; None for any other file."""
    if not is_marked(path) or not _is_canonical(_batches(path, rows, NAMES)):
        return None
    return _batches(path, rows, columns)


def stream_texts(path: Path) -> Iterator[pd.DataFrame]:
    """`uid, prompt, chosen, rejected` of the pairs of any file, `CHUNK` rows at a time."""
    return _stream(path, ["uid", *TEXTS])


def weights(path: Path, name: str) -> pd.Series | None:
    """The column `weight` of any pairs file by uid, checked; None where it has none.

    Raises `UserError`, in which the file is called `name`, where a weight is no number ≥ 0, or all
    are 0.
    """
    if is_marked(path) and "weight" not in _columns(path):
        return None
    table = pd.concat(_stream(path, ["uid", "weight"]), ignore_index=True)
    if table["weight"].isna().all():
        return None
    values = pd.to_numeric(table["weight"], errors="coerce").astype(float)
    wrong = ~(np.isfinite(values) & values.ge(0))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise UserError(
            f"{name}: pair {row + 1}, uid {table['uid'][row]!r}: weight is "
            f"{str(table['weight'][row])!r}. A weight is a number ≥ 0: correct it, "
            "or rename the column if it is no weight of the loss."
        )
    if not values.any():
        raise UserError(
            f"{name}: weight is 0 for every pair: nothing would be trained. Raise some."
        )
    return values.set_axis(table["uid"])


def weighted(path: Path) -> bool:
    """Whether the pairs of any file have weights: read up to the first one."""
    if not any(map(_may_weigh, files(path))):
        return False
    return any(table["weight"].notna().any() for table in _stream(path, ["weight"]))


def _may_weigh(file: Path) -> bool:
    """Whether a file names a field `weight`; only JSON's rows may have fields of their own."""
    form = kind(file)
    if form == ".parquet":
        with parquet.readable(file):
            return _has_values(pq.read_metadata(file), "weight")
    if not form.startswith(".json"):
        return any("weight" in line.value for line in islice(read_records(file), 1))
    with opened(file) as stream, suppress(EOFError, OSError, zlib.error):  # cut off
        tail = b""
        while block := stream.read(1 << 20):
            if b'"weight"' in tail + block:
                return True
            tail = block[-8:]
        return False
    return True


def _has_values(metadata: pq.FileMetaData, name: str) -> bool:
    """Whether a column of a Parquet file is there and, by its statistics, not empty."""
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    columns = (group.column(at) for group in groups for at in range(metadata.num_columns))
    return any(
        column.statistics is None
        or not column.statistics.has_null_count
        or column.statistics.null_count < column.num_values
        for column in columns
        if column.path_in_schema == name
    )


def _stream(path: Path, names: list[str]) -> Iterator[pd.DataFrame]:
    """Columns of the pairs of any file, `CHUNK` rows at a time; empty where it has none."""
    present = [n for n in names if n in _columns(path)] if is_marked(path) else names
    tables = batches(path, CHUNK, present)
    if tables is not None:
        yield from (table.to_pandas().reindex(columns=names) for table in tables)
        return
    for pairs in usable_pairs(path):
        rows = [[pair.get(name) for name in names] for pair in pairs]
        yield pd.DataFrame(rows, columns=pd.Index(names))


def _columns(path: Path) -> list[str]:
    names: list[str] = pq.read_schema(path).names
    return names


def write(path: Path, tables: Iterable[pa.Table]) -> None:
    """Write tables of one schema as canonical pairs; one row group is in memory."""
    write_tables(tables, partial(parquet_writer, path))


def write_tables(tables: Iterable[pa.Table], open_writer: OpenWriter) -> None:
    """Write tables of one schema as they come."""
    tables = iter(tables)
    first = next(tables)
    with open_writer(first.schema) as write_table:
        for table in chain([first], tables):
            write_table(table)


def write_pairs(pairs: pd.DataFrame, path: Path | str) -> None:
    """Write pairs atomically, in the format that the name ends in."""
    path = Path(path)
    form = kind(path)
    if form not in WRITTEN:
        raise UserError(f"{path}: pairs are written as {', '.join(WRITTEN)}.")
    with writing_atomic(path) as part:
        if form == ".parquet":
            write(part, [pa.Table.from_pandas(pairs, preserve_index=False)])
        else:
            text = "".join(f"{line}\n" for line in _json_lines(pairs)).encode()
            part.write_bytes(gzip.compress(text, mtime=0) if form == ".jsonl.gz" else text)


def import_pairs(
    source: Path,
    out: Path,
    columns: Mapping[str, str] | None = None,
    *,
    tick: Callable[[int], None] = lambda _rows: None,
) -> Health:
    """Write the usable pairs of any file as canonical Parquet, in constant memory.

    `columns` as in `read_pairs`; `tick` is called with the number of rows that were read since.
    """
    if out.suffix != ".parquet":
        raise UserError(f"{out}: end the name in .parquet.")
    sweep(out.parent, f"{escape(out.name)}.*")
    examination = Examination()

    def see(chunk: Chunk) -> None:
        examination.see(chunk)
        tick(len(chunk.pairs) + len(chunk.skipped))

    with writing_atomic(out) as part:
        write_usable(source, partial(parquet_writer, part), see, columns)
    return examination.health()


def write_usable(
    source: Path, open_writer: OpenWriter, see: See, columns: Mapping[str, str] | None = None
) -> None:
    """Write the usable pairs of any file as tables of one schema, in constant memory.

    The file is read a second time only where a later row changes a column's type. `see` is called
    once with every chunk. Raises `UserError` where the file has no usable pair.
    """
    kinds: typed.Kinds = {}
    for listener in (see, lambda _chunk: None):
        tables = _typed_tables(usable_pairs(source, listener, columns), kinds)
        first = next(tables)
        written = {name: set(types) for name, types in kinds.items()}
        write_tables(chain([first], tables), open_writer)
        if kinds == written:
            return


@contextmanager
def parquet_writer(path: Path, schema: pa.Schema) -> Iterator[Write]:
    """Writes tables of this schema as canonical pairs, in row groups of bounded size."""
    schema = schema.with_metadata({MARK: FORM})
    waiting: list[pa.Table] = []
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:

        def flush() -> None:
            if waiting:
                writer.write_table(pa.concat_tables(waiting))
                waiting.clear()

        def write_table(table: pa.Table) -> None:
            waiting.append(table.cast(schema))
            if sum(map(len, waiting)) >= GROUP or sum(t.nbytes for t in waiting) >= GROUP_BYTES:
                flush()

        yield write_table
        flush()


def _typed_tables(chunks: Iterable[list[dict[str, Any]]], kinds: typed.Kinds) -> Iterator[pa.Table]:
    """Pairs as tables of the types in `kinds`, to which all are added; none once they changed."""
    written = None
    for pairs in chunks:
        typed.see(kinds, pairs)
        written = written or {name: set(types) for name, types in kinds.items()}
        if kinds == written:
            yield typed.to_table(pairs, kinds)


def _batches(path: Path, rows: int, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    with parquet.readable(path):
        for batch in parquet.batches(path, rows, columns):
            yield pa.Table.from_batches([batch])


def _is_canonical(tables: Iterable[pa.Table]) -> bool:
    uids = []
    for table in tables:
        if not all(_has_texts(table[name]) for name in NAMES):
            return False
        if not pc.all(pc.not_equal(table["chosen"], table["rejected"])).as_py():
            return False
        uids += table["uid"].chunks
    return bool(uids) and len(pa.chunked_array(uids).unique()) == sum(map(len, uids))


def _has_texts(column: pa.ChunkedArray) -> bool:
    """Whether every cell is text that is not empty."""
    text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if not text or column.null_count:
        return False
    return bool(pc.all(pc.greater(pc.utf8_length(column), 0)).as_py())


def _json_lines(pairs: pd.DataFrame) -> list[str]:
    cells = pairs.astype(object).where(pairs.notna(), None).itertuples(index=False, name=None)
    records = (dict(zip(map(str, pairs.columns), row, strict=True)) for row in cells)
    return [typed.to_json(as_record(record)) for record in records]
