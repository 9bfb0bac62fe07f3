"""What people said of the clusters as one row per pair, to use elsewhere or to bring back.

Parquet: `uid, cluster, name, mark`, pairs in no cluster included (−1, no name, no mark). Brought
back, a name or mark stands for the pairs that carry it, as an earlier map's cluster would.
"""

import io
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from core.errors import UserError
from core.runs.changes import Marking
from core.runs.labels import Labels

COLUMNS = ("uid", "cluster", "name", "mark")
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
    try:
        table = pd.read_parquet(io.BytesIO(content))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"This is not a readable Parquet file ({error}).") from error
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise UserError(f"The file has no column {missing[0]!r}. It needs {', '.join(COLUMNS)}.")
    known = table[table["name"].notna() | table["mark"].notna()]
    marks = set(known["mark"].dropna()) - set(MARKS)
    if marks:
        raise UserError(f"{sorted(marks)[0]!r} is not a mark. Marks: {', '.join(MARKS)}.")
    groups = known.groupby(["cluster", "name", "mark"], dropna=False, sort=True)
    return [_group(rows) for _, rows in groups]


def _group(rows: pd.DataFrame) -> Group:
    first = rows.iloc[0].to_dict()
    mark = next((known for known in MARKS if known == first["mark"]), None)
    return Group(int(first["cluster"]), _given(first["name"]), mark, pd.Index(rows["uid"]))


def _given(value: Any) -> str | None:
    return value if isinstance(value, str) else None
