"""Label files: JSON to copy labels to another workspace, Parquet with one row per pair.

JSON has names, marks, notes and recipes of the clusters of every map, and the saved selections. Its
recipes tell which pairs a cluster had; they are not imported, since merges and moves are the
history of another log. Parquet has the columns `uid, cluster, name, mark`, with pairs in no cluster
(−1, no name, no mark); when it is read, a name or mark applies to the pairs that carry it.
"""

import io
import json
import reprlib
from typing import Any, NamedTuple, get_args

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

TYPES = pa.schema(
    [("uid", pa.string()), ("cluster", pa.int64()), ("name", pa.string()), ("mark", pa.string())]
)
COLUMNS = tuple(TYPES.names)
MARKS: tuple[Marking, ...] = get_args(Marking)


class Group(NamedTuple):
    """Pairs with the same name and mark."""

    cluster: int
    name: str | None
    mark: Marking | None
    uids: pd.Index


def to_json(state: State) -> str:
    """All clusters that have labels, and the saved selections."""
    content = {
        "labels": {run: _clusters(labels) for run, labels in sorted(state.labels.items())},
        "selections": {name: r.model_dump(mode="json") for name, r in state.selections.items()},
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _clusters(labels: Labels) -> dict[str, dict[str, Any]]:
    return {
        str(cluster): {
            "name": labels.names.get(cluster),
            "mark": labels.marks.get(cluster),
            "notes": [note.text for note in labels.notes.get(cluster, ())],
            "recipe": labels.recipe(cluster).model_dump(mode="json"),
        }
        for cluster in labels.touched()
    }


def read_json(text: str) -> list[Change]:
    """The changes that bring another log the labels and selections of an export."""
    changes: list[Change] = []
    try:
        content = from_json(text)
        json.dumps(content, ensure_ascii=False).encode()  # a lone surrogate cannot be stored
        for name, recipe in content.get("selections", {}).items():
            changes.append(Save(name=name, recipe=recipe))
        for run, clusters in content["labels"].items():
            for cluster, labels in clusters.items():
                of = {"discover": run, "cluster": int(cluster)}
                if labels.get("name"):
                    changes.append(Name(**of, name=labels["name"]))
                if labels.get("mark"):
                    changes.append(Mark(**of, mark=labels["mark"]))
                changes += [Note(**of, text=note) for note in _list(labels.get("notes"))]
    except (ValidationError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = reprlib.repr(str(error).partition("\n")[0])
        raise UserError(
            f"These are not labels that PairTrace exported ({reason}). Export them as JSON and "
            "bring that file."
        ) from error
    return changes


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list | None):
        raise TypeError(f"notes are a {type(value).__name__}, not a list")
    return value or []


def to_parquet(uids: pd.Index, clusters: NDArray[np.int64], labels: Labels) -> bytes:
    """One row per pair; `clusters` gives the current cluster of each."""
    cluster = pd.Series(clusters)
    table = pd.DataFrame(
        {
            "uid": pd.Index(uids).astype("str"),
            "cluster": cluster.to_numpy(),
            "name": cluster.map(labels.names).astype("str").to_numpy(),
            "mark": cluster.map(labels.marks).astype("str").to_numpy(),
        }
    )
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


def read_parquet(content: bytes) -> list[Group]:
    """The groups of a file that have a name or a mark."""
    table = _table(content)
    labelled = table[table["name"].notna() | table["mark"].notna()]
    unknown = set(labelled["mark"].dropna()) - set(MARKS)
    if unknown:
        raise UserError(f"{sorted(unknown)[0]!r} is not a mark. Marks: {', '.join(MARKS)}.")
    groups = labelled.groupby(["cluster", "name", "mark"], dropna=False, sort=True)
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
        rows = parquet.batches(content, name="This file")
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
    name = first["name"] if isinstance(first["name"], str) else None
    mark = next((mark for mark in MARKS if mark == first["mark"]), None)
    return Group(int(first["cluster"]), name, mark, pd.Index(rows["uid"]))
