"""The pairs of a file, memory-mapped: read one column or a few rows at a time.

The usable pairs are copied once into an Arrow file in the workspace's cache, so that a page over
378k pairs holds their uids in memory, shows 200 of them, and a search reads only the column that it
searches. Rows are in file order, columns as `read_pairs` gives them; skipped rows are listed in a
file beside it. Both may be deleted, and are made again when the pairs file changes.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from core.data import canonical
from core.data.pairs import TEXTS, Skipped, skipped_table
from core.errors import UserError
from core.storage.atomic import writing_atomic

ROWS = 4_096  # in a batch: what is decoded around one row that is asked for


def open_columns(pairs: Path, cache: Path) -> "PairColumns":
    """The pairs of a file; `cache` gets a new copy where it is missing, outdated or damaged."""
    place = hashlib.sha256(str(pairs.resolve()).encode()).hexdigest()[:8]
    copy = cache / f"pairs-{place}-{version(pairs)}.arrow"
    with suppress(OSError, pa.ArrowException):
        return PairColumns(copy)
    cache.mkdir(parents=True, exist_ok=True)
    _sweep(cache)
    with FileLock(_lock_of(copy)):  # whoever waited may find it made
        with suppress(OSError, pa.ArrowException):
            return PairColumns(copy)
        _write(pairs, copy)
        for old in cache.glob(f"pairs-{place}-*"):
            if not old.name.startswith(copy.stem):
                with suppress(OSError):  # Windows does not delete a file that is open
                    old.unlink()
    return PairColumns(copy)


def version(pairs: Path) -> str:
    """Changes when the file, or one in the folder, does: by path, size and time."""
    if not pairs.exists():
        raise UserError(f"{pairs}: the preference pairs are not there any more. Put them back.")
    files = sorted(pairs.rglob("*")) if pairs.is_dir() else [pairs]
    states = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(repr((states, TEXTS)).encode()).hexdigest()[:16]


class PairColumns:
    """Columns by name as Series by uid, like a DataFrame's; texts stay on disk until used.

    `skipped` lists the rows of the file that are no usable pairs: `row, uid, field, reason`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.skipped = pd.read_parquet(_skipped_file(path))
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()  # no bytes read yet
        n = table.num_columns - len(TEXTS)
        self._table = table.select(list(range(n)))
        self._lengths = table.select(list(range(n, table.num_columns)))  # by place, not name
        self.index = pd.Index(self._table["uid"].to_pandas(), name=None)

    def __len__(self) -> int:
        return len(self.index)

    def __contains__(self, column: object) -> bool:
        return column in self._table.column_names

    def __iter__(self) -> Iterator[str]:
        return iter(self._table.column_names)

    def __getitem__(self, column: str) -> pd.Series:
        return self._table[column].to_pandas(types_mapper=_pandas_type).set_axis(self.index)

    def positions(self, uids: Any) -> NDArray[np.intp]:
        """(uid,) the row of each uid, −1 where it is not among the pairs."""
        wanted = pa.array(pd.Index(uids, dtype="str"), pa.large_string())
        if len(wanted) > len(self) / 4:
            places = pc.index_in(wanted, value_set=self._table["uid"])
            return np.asarray(places.fill_null(-1)).astype(np.intp)
        if isinstance(wanted, pa.ChunkedArray):  # of a column that was put together from several
            wanted = wanted.combine_chunks()
        few = wanted.dictionary_encode()  # their hash table is the smaller one
        which = np.asarray(pc.index_in(self._table["uid"], few.dictionary).fill_null(-1))
        rows = np.flatnonzero(which >= 0)
        row_of = np.full(len(few.dictionary) + 1, -1, np.intp)
        row_of[which[rows]] = rows
        return row_of[np.asarray(few.indices.fill_null(-1))]

    def rows(self, positions: Any) -> pd.DataFrame:
        """The rows at these positions, in their order, by uid; `UserError` for −1."""
        wanted = np.asarray(positions, np.int64)
        if (wanted < 0).any():
            raise UserError("Some pairs of an earlier run are not in the pairs' file any more.")
        runs = np.split(wanted, np.flatnonzero(np.diff(wanted) != 1) + 1) if len(wanted) else []
        parts = [self._table.slice(int(run[0]), len(run)) for run in runs]
        table = pa.concat_tables(parts) if parts else self._table.slice(0, 0)
        return table.to_pandas(types_mapper=_pandas_type).set_axis(self.index[wanted])

    def batches(self) -> Iterator[pa.Table]:
        """All rows in file order, `ROWS` at a time."""
        for start in range(0, len(self), ROWS):
            yield self._table.slice(start, ROWS)

    @cached_property
    def lengths(self) -> pd.DataFrame:
        """`prompt, chosen, rejected` of every pair in characters, by position."""
        return self._lengths.rename_columns(list(TEXTS)).to_pandas()

    def order(self, column: str, *, descending: bool = False) -> NDArray[np.int32]:
        """(pair,) positions by a column's value, those without one last; ties in file order."""
        way = "descending" if descending else "ascending"
        positions = pc.sort_indices(self._table, sort_keys=[(column, way)])  # nulls last
        return np.asarray(positions).astype(np.int32)

    def few_valued(self, most: int) -> list[str]:
        """Columns with at most this many values, and more than one."""
        return [name for name, n in self._n_values.items() if 1 < n <= most]

    @cached_property
    def _n_values(self) -> dict[str, int]:
        """Distinct values of every column but the uids and texts."""
        rest = [name for name in self if name not in ("uid", *TEXTS)]
        return {name: len(self._table[name].unique()) for name in rest}

    def numeric(self) -> list[str]:
        """Columns of numbers."""
        types = {field.name: field.type for field in self._table.schema}
        return [
            name
            for name, kind in types.items()
            if pa.types.is_integer(kind) or pa.types.is_floating(kind)
        ]


def _lock_of(copy: Path) -> Path:
    """The lock of a pairs file: taken while a copy of it, of any version, is written."""
    return copy.with_name(f"{'-'.join(copy.name.split('-')[:2])}.lock")


def _sweep(cache: Path) -> None:
    """Delete half-written copies whose writer was killed: nobody has their lock."""
    for half in cache.glob("pairs-*.part"):
        with suppress(Timeout), FileLock(_lock_of(half)).acquire(timeout=0):
            half.unlink(missing_ok=True)


def _skipped_file(copy: Path) -> Path:
    """Where the rows are listed that a copy skips."""
    return copy.with_suffix(".skipped.parquet")


def _pandas_type(kind: pa.DataType) -> Any:
    """Texts as pandas strings over the mapped bytes; nullable booleans."""
    if pa.types.is_large_string(kind):
        return pd.StringDtype("pyarrow", na_value=np.nan)
    return pd.BooleanDtype() if pa.types.is_boolean(kind) else None


def _write(pairs: Path, copy: Path) -> None:
    skipped: list[Skipped] = []
    batches = canonical.batches(pairs, ROWS)
    with writing_atomic(copy) as part:
        writer = partial(_arrow_writer, part)
        if batches is None:
            canonical.write_usable(pairs, writer, lambda chunk: skipped.extend(chunk.skipped))
        else:
            canonical.write_tables(batches, writer)
        with writing_atomic(_skipped_file(copy)) as listed:
            skipped_table(skipped).to_parquet(listed, index=False)


@contextmanager
def _arrow_writer(path: Path, schema: pa.Schema) -> Iterator[canonical.Write]:
    """Writes tables of this schema, and columns with the lengths of their texts."""
    schema = pa.schema([field.with_type(_wide(field.type)) for field in schema])
    counts = [pa.field(f"characters in {name}", pa.int32()) for name in TEXTS]
    with_counts = pa.schema([*schema, *counts])
    with pa.ipc.new_file(str(path), with_counts) as writer:

        def write_table(table: pa.Table) -> None:
            columns = table.cast(schema).columns
            columns += [pc.utf8_length(table[name]).cast(pa.int32()) for name in TEXTS]
            table = pa.Table.from_arrays(columns, schema=with_counts)
            writer.write_table(table, max_chunksize=ROWS)

        yield write_table


def _wide(kind: pa.DataType) -> pa.DataType:
    """Texts with 64-bit offsets: a column of them may hold more than 2 GB."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.large_string() if pa.types.is_string(kind) else kind
