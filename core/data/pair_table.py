"""The usable pairs of a file, on disk, read one column or a few rows at a time.

Which rows are usable is decided once, a few thousand at a time; they are kept as an Arrow file that
is mapped into memory, so that a page over 378k pairs holds their uids and shows 200 of them, and a
search reads the one column that it searches. Rows are in file order, columns as `read_pairs` gives
them; the rows that were left out are listed in a file beside it. Both are copies: they may be
deleted, and are made anew when the pairs file changes.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from core.data import canonical
from core.data import schema as typed
from core.data.pairs import SKIPPED, TEXTS, Skipped, nothing_usable, skipped_rows, stream_pairs
from core.errors import UserError
from core.storage.atomic import writing_atomic

ROWS = 4_096  # in a batch: what is decoded around one row that is asked for


def open_columns(pairs: Path, kept_in: Path) -> "PairColumns":
    """The pairs of a file; `kept_in` gets a new copy where it is missing, outdated or damaged."""
    place = hashlib.sha256(str(pairs.resolve()).encode()).hexdigest()[:8]
    copy = kept_in / f"pairs-{place}-{version(pairs)}.arrow"
    with suppress(OSError, pa.ArrowException):
        return PairColumns(copy)
    kept_in.mkdir(parents=True, exist_ok=True)
    _sweep(kept_in)
    with FileLock(_lock_of(copy)):  # whoever waited may find it made
        with suppress(OSError, pa.ArrowException):
            return PairColumns(copy)
        _write(pairs, copy)
        for old in kept_in.glob(f"pairs-{place}-*"):
            if not old.name.startswith(copy.stem):
                with suppress(OSError):  # somebody still reads it, where that forbids its end
                    old.unlink()
    return PairColumns(copy)


def _lock_of(copy: Path) -> Path:
    """Held while a copy of this pairs file, of any version, is written."""
    return copy.with_name(f"{'-'.join(copy.name.split('-')[:2])}.lock")


def _sweep(kept_in: Path) -> None:
    """Delete copies that are half written and that nobody is writing: a process was killed."""
    for half in kept_in.glob("pairs-*.part"):
        with suppress(Timeout), FileLock(_lock_of(half)).acquire(timeout=0):
            half.unlink(missing_ok=True)


def version(pairs: Path) -> str:
    """Changes when the file, or one in the folder, does: by place, size and time."""
    if not pairs.exists():
        raise UserError(f"{pairs}: the preference pairs are not there any more. Put them back.")
    files = sorted(pairs.rglob("*")) if pairs.is_dir() else [pairs]
    known = [(str(one.resolve()), one.stat().st_size, one.stat().st_mtime_ns) for one in files]
    return hashlib.sha256(repr((known, TEXTS)).encode()).hexdigest()[:16]


class PairColumns:
    """Columns by name as Series by uid, like a DataFrame's; texts stay on disk until used.

    `skipped` lists the rows of the file that are no usable pairs: `row, uid, field, reason`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.skipped = pd.read_parquet(_left_out(path))
        held = pa.ipc.open_file(pa.memory_map(str(path))).read_all()  # no bytes read yet
        own = held.num_columns - len(TEXTS)
        self._table = held.select(list(range(own)))
        self._lengths = held.select(list(range(own, held.num_columns)))  # by place, not name
        self.index = pd.Index(self._table["uid"].to_pandas(), name=None)

    def __len__(self) -> int:
        return len(self.index)

    def __contains__(self, column: object) -> bool:
        return column in self._table.column_names

    def __iter__(self) -> Iterator[str]:
        return iter(self._table.column_names)

    def __getitem__(self, column: str) -> pd.Series:
        return self._table[column].to_pandas(types_mapper=_mapped).set_axis(self.index)

    def positions(self, uids: Any) -> NDArray[np.intp]:
        """(uid,) the row of each uid, −1 where it is not among the pairs."""
        wanted = pa.array(pd.Index(uids, dtype="str"), pa.large_string())
        found = pc.index_in(wanted, value_set=self._table["uid"])
        return np.asarray(found.fill_null(-1)).astype(np.intp)

    def rows(self, positions: Any) -> pd.DataFrame:
        """The rows at these positions, in their order, by uid; −1 is refused."""
        wanted = np.asarray(positions, np.int64)
        if (wanted < 0).any():
            raise UserError("Some pairs of an earlier run are not in the pairs' file any more.")
        runs = np.split(wanted, np.flatnonzero(np.diff(wanted) != 1) + 1) if len(wanted) else []
        parts = [self._table.slice(int(run[0]), len(run)) for run in runs]
        table = pa.concat_tables(parts) if parts else self._table.slice(0, 0)
        return table.to_pandas(types_mapper=_mapped).set_axis(self.index[wanted])

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
        found = pc.sort_indices(self._table, sort_keys=[(column, way)])  # none last
        return np.asarray(found).astype(np.int32)

    def whole(self) -> pd.DataFrame:
        """Every column by uid; texts stay on disk until a column or a row is used."""
        return pd.DataFrame({name: self[name] for name in self}, copy=False)

    def few_valued(self, most: int) -> list[str]:
        """Columns that sort pairs into kinds: at most this many values, and more than one."""
        rest = [name for name in self if name not in ("uid", "prompt", "chosen", "rejected")]
        counts = {name: self._table[name].unique() for name in rest}
        return [name for name, values in counts.items() if 1 < len(values) <= most]

    def numeric(self) -> list[str]:
        """Columns of numbers."""
        kinds = {field.name: field.type for field in self._table.schema}
        return [
            name
            for name, kind in kinds.items()
            if pa.types.is_integer(kind) or pa.types.is_floating(kind)
        ]


def _left_out(copy: Path) -> Path:
    """Where the rows are listed that a copy leaves out."""
    return copy.with_suffix(".skipped.parquet")


def _mapped(kind: pa.DataType) -> Any:
    """Texts as pandas strings over the mapped bytes; yes/no columns that may miss a value."""
    if pa.types.is_large_string(kind):
        return pd.StringDtype("pyarrow", na_value=np.nan)
    return pd.BooleanDtype() if pa.types.is_boolean(kind) else None


def _write(pairs: Path, copy: Path) -> None:
    own = canonical.batches(pairs, ROWS)
    skipped: list[Skipped] = []
    with writing_atomic(copy) as part:
        if own is None:
            _write_usable(pairs, part, skipped)
        else:
            _write_own(own, part)
        rows = skipped_rows(skipped)
        with writing_atomic(_left_out(copy)) as listed:
            rows.to_parquet(listed, index=False)


def _write_usable(pairs: Path, part: Path, skipped: list[Skipped]) -> None:
    kinds: typed.Kinds = {}
    written = None
    while written != kinds:  # twice where a later row brought another type
        skipped.clear()
        written = _write_known(pairs, part, kinds, skipped)


def _write_known(
    pairs: Path, part: Path, kinds: typed.Kinds, skipped: list[Skipped]
) -> typed.Kinds:
    """Write until a row changes `kinds`, to which all are added; returns the kinds written with."""
    chunks = _usable(pairs, skipped)
    first = next(chunks, None)
    if first is None:
        raise UserError(nothing_usable(pairs, pd.DataFrame(skipped, columns=SKIPPED)))
    typed.see(kinds, first)
    known = {name: set(held) for name, held in kinds.items()}
    with _writer(part, typed.schema(known)) as write:
        for chunk in chain([first], chunks):
            typed.see(kinds, chunk)
            if kinds == known:
                write(typed.chunk(chunk, known))
    return known


def _usable(pairs: Path, skipped: list[Skipped]) -> Iterator[list[dict[str, Any]]]:
    for chunk in stream_pairs(pairs):
        skipped += chunk.skipped
        if chunk.pairs:
            yield chunk.pairs


def _write_own(tables: Iterator[pa.Table], part: Path) -> None:
    first = next(tables)
    schema = pa.schema([field.with_type(_wide(field.type)) for field in first.schema])
    with _writer(part, schema) as write:
        for table in chain([first], tables):
            write(table.cast(schema))


@contextmanager
def _writer(part: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """Writes tables of this schema, and how long their texts are: nobody need read them for it."""
    counts = [pa.field(f"characters in {name}", pa.int32()) for name in TEXTS]
    with pa.ipc.new_file(str(part), pa.schema([*schema, *counts])) as writer:

        def write(table: pa.Table) -> None:
            lengths = [pc.utf8_length(table[name]).cast(pa.int32()) for name in TEXTS]
            whole = pa.schema([*table.schema, *counts])
            held = pa.Table.from_arrays([*table.columns, *lengths], schema=whole)
            writer.write_table(held, max_chunksize=ROWS)

        yield write


def _wide(kind: pa.DataType) -> pa.DataType:
    """Texts with 64-bit offsets: a column of them may hold more than 2 GB."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.large_string() if pa.types.is_string(kind) else kind
