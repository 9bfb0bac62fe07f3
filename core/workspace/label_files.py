"""Names, marks, notes and selections as a JSON file, and the changes that bring them elsewhere.

Merges and splits are shown in a file but not brought: they are another log's history.

What people said of the clusters as one row per pair, to use elsewhere or to bring back.

Parquet: `uid, cluster, name, mark`, pairs in no cluster included (−1, no name, no mark). Brought
back, a name or mark stands for the pairs that carry it, as an earlier map's cluster would.
"""

import io
import json
import reprlib
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import ValidationError

from core.data import parquet
from core.errors import UserError
from core.specs.events import Change, Mark, Marking, Name, Note, Save
from core.storage.parse import from_json
from core.workspace.labels import Labels, State


def exported(state: State) -> str:
    """Every cluster that anyone said something about, and the saved selections, as JSON."""
    runs = {run: _described(labels) for run, labels in sorted(state.labels.items())}
    saved = {name: recipe.model_dump(mode="json") for name, recipe in state.selections.items()}
    content = {"labels": runs, "selections": saved}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def imported(text: str) -> list[Change]:
    """The changes that give another log the names, marks, notes and selections of an export."""
    changes: list[Change] = []
    try:
        content = from_json(text)
        json.dumps(content, ensure_ascii=False).encode()  # half a letter cannot be kept
        for name, recipe in content.get("selections", {}).items():
            changes.append(Save(name=name, recipe=recipe))
        for run, clusters in content["labels"].items():
            for cluster, said in clusters.items():
                where = {"discover": run, "cluster": int(cluster)}
                if said.get("name"):
                    changes.append(Name(**where, name=said["name"]))
                if said.get("mark"):
                    changes.append(Mark(**where, mark=said["mark"]))
                changes += [Note(**where, text=note) for note in _list(said.get("notes"))]
    except (ValidationError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = reprlib.repr(str(error).partition("\n")[0])
        raise UserError(
            f"These are not labels that PairTrace exported ({reason}). Export them as JSON and "
            "bring that file."
        ) from error
    return changes


def _described(labels: Labels) -> dict[str, dict[str, Any]]:
    return {
        str(cluster): {
            "name": labels.names.get(cluster),
            "mark": labels.marks.get(cluster),
            "notes": [note.text for note in labels.notes.get(cluster, ())],
            "recipe": labels.recipe(cluster).model_dump(mode="json"),
        }
        for cluster in labels.touched()
    }


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list | None):
        raise TypeError(f"notes are a {type(value).__name__}, not a list")
    return value or []


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
