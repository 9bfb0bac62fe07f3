"""The usable pairs of a file, on disk, read one column or a few rows at a time.

`read_pairs` decides once which rows are usable; they are kept as an Arrow file that is mapped into
memory, so that a page over 378k pairs holds their uids and shows 200 of them, and a search reads
the one column that it searches. Rows are in file order, columns as `read_pairs` gives them. The
Arrow file is a copy: it may be deleted, and is made anew when the pairs file changes.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from core.data.pairs import read_pairs
from core.errors import UserError

ROWS = 4_096  # in a batch: what is decoded around one row that is asked for


def open_columns(pairs: Path, kept_in: Path) -> "PairColumns":
    """The pairs of a file; the Arrow copy is made in `kept_in` where it is missing or outdated."""
    copy = kept_in / f"pairs-{version(pairs)}.arrow"
    if not copy.is_file():
        _write(read_pairs(pairs).pairs, copy)
    return PairColumns(copy)


def version(pairs: Path) -> str:
    """Changes when the file, or one in the folder, does: by place, size and time."""
    if not pairs.exists():
        raise UserError(f"{pairs}: the preference pairs are not there any more. Put them back.")
    files = sorted(pairs.rglob("*")) if pairs.is_dir() else [pairs]
    known = [(str(one.resolve()), one.stat().st_size, one.stat().st_mtime_ns) for one in files]
    return hashlib.sha256(repr(known).encode()).hexdigest()[:16]


class PairColumns:
    """Columns by name as Series by uid, like a DataFrame's; texts stay on disk until used."""

    def __init__(self, path: Path) -> None:
        self._table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()  # no bytes read yet
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
        return self.index.get_indexer(pd.Index(uids))

    def rows(self, positions: Any) -> pd.DataFrame:
        """The rows at these positions, in their order, by uid."""
        wanted = np.asarray(positions, np.int64)
        parts = [self._table.slice(int(row), 1) for row in wanted]
        table = pa.concat_tables(parts) if parts else self._table.slice(0, 0)
        return table.to_pandas(types_mapper=_mapped).set_axis(self.index[wanted])

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


def _mapped(kind: pa.DataType) -> Any:
    """Texts as pandas strings over the mapped bytes; yes/no columns that may miss a value."""
    if pa.types.is_large_string(kind):
        return pd.StringDtype("pyarrow", na_value=np.nan)
    return pd.BooleanDtype() if pa.types.is_boolean(kind) else None


def _write(pairs: pd.DataFrame, path: Path) -> None:
    table = pa.Table.from_pandas(pairs, preserve_index=False).replace_schema_metadata(None)
    wide = [
        field.with_type(pa.large_string()) if pa.types.is_string(field.type) else field
        for field in table.schema
    ]
    table = table.cast(pa.schema(wide))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    with pa.ipc.new_file(str(part), table.schema) as writer:
        writer.write_table(table, max_chunksize=ROWS)
    os.replace(part, path)
