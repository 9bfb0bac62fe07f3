"""What people said of the clusters as one row per pair, to use elsewhere or to bring back.

Parquet: `uid, cluster, name, mark`, pairs in no cluster included (−1, no name, no mark). Brought
back, a name or mark stands for the pairs that carry it, as an earlier map's cluster would.
"""

import io
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.data import parquet
from core.errors import UserError
from core.runs.changes import Marking
from core.runs.labels import Labels

TYPES = pa.schema(
    [("uid", pa.string()), ("cluster", pa.int64()), ("name", pa.string()), ("mark", pa.string())]
)
COLUMNS = tuple(TYPES.names)
MARKS: tuple[Marking, ...] = ("harmful", "unwanted", "wanted", "ignore")


class Group(NamedTuple):
    """Pairs that carry the same name and mark."""

    cluster: int
    name: str | None
    mark: Marking | None
    uids: pd.Index


def written(uids: pd.Index, clusters: NDArray[np.int64], said: Labels) -> bytes:
    """The Parquet file; `clusters` gives the cluster of each pair as it is now."""
    cluster = pd.Series(clusters)
    table = pd.DataFrame(
        {
            "uid": pd.Index(uids).astype("str"),
            "cluster": cluster.to_numpy(),
            "name": cluster.map(said.names).astype("str").to_numpy(),
            "mark": cluster.map(said.marks).astype("str").to_numpy(),
        }
    )
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


def read(content: bytes) -> list[Group]:
    """The groups of a file that have a name or a mark."""
    table = _table(content)
    known = table[table["name"].notna() | table["mark"].notna()]
    marks = set(known["mark"].dropna()) - set(MARKS)
    if marks:
        raise UserError(f"{sorted(marks)[0]!r} is not a mark. Marks: {', '.join(MARKS)}.")
    groups = known.groupby(["cluster", "name", "mark"], dropna=False, sort=True)
    return [_group(rows) for _, rows in groups]


def _table(content: bytes) -> pd.DataFrame:
    """`COLUMNS` of a file, of the types that they are written with."""
    try:
        schema = pq.read_schema(pa.BufferReader(content))
        missing = [name for name in COLUMNS if name not in schema.names]
        if missing:
            raise UserError(
                f"The file has no column {missing[0]!r}. It needs {', '.join(COLUMNS)}."
            )
        rows = parquet.batches_of(content, "This file")
        typed = pa.Table.from_batches(rows, schema).select(COLUMNS).cast(TYPES)
        typed.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise UserError(f"This is not a readable Parquet file of labels ({error}).") from error
    empty = [name for name in COLUMNS[:2] if typed[name].null_count]
    if empty:
        raise UserError(f"The file has rows without {empty[0]!r}. Every row is of a pair.")
    return typed.to_pandas()


def _group(rows: pd.DataFrame) -> Group:
    first = rows.iloc[0].to_dict()
    mark = next((known for known in MARKS if known == first["mark"]), None)
    return Group(int(first["cluster"]), _given(first["name"]), mark, pd.Index(rows["uid"]))


def _given(value: Any) -> str | None:
    return value if isinstance(value, str) else None
