"""Rows to columns, a chunk at a time: texts leave Python's objects for Arrow as they come.

A column has one type. Whole numbers and fractions are one type; a column that nests, or mixes
others, becomes JSON text. Which it is, is known when every row was seen, so a chunk keeps its
values until then. Knows nothing of pairs.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from core.data.trl_formats import absent, plain

MAX_COLUMNS = 256
TEXT = pa.large_string()  # 32-bit offsets end at 2 GB of text

Kinds = dict[str, set[type]]
Packed = tuple[dict[str, Any], int]


def see(kinds: Kinds, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add the types of some rows to those of the columns."""
    for row in rows:
        for name, value in row.items():
            held = kinds.setdefault(name, set())
            if not absent(value):
                held.add(_kind(value))


def schema(kinds: Kinds) -> pa.Schema:
    """One type per column, now that all rows were seen."""
    return pa.schema([(name, _type(held)) for name, held in kinds.items()])


def chunk(rows: Sequence[Mapping[str, Any]], kinds: Kinds) -> pa.Table:
    """Some rows as a table of the final types."""
    columns = {
        name: pa.array([_cell(row.get(name), held) for row in rows], _type(held))
        for name, held in kinds.items()
    }
    return pa.table(columns)


def packed(rows: Sequence[Mapping[str, Any]]) -> Packed:
    """Some rows, held small until the types are known: columns of text as Arrow, others as is."""
    kinds: Kinds = {}
    see(kinds, rows)
    held = {
        name: (
            pa.array([_light(row.get(name)) for row in rows], TEXT)
            if types == {str}
            else [_light(row.get(name)) for row in rows]
        )
        for name, types in kinds.items()
    }
    return held, len(rows)


def unpacked(chunks: Iterable[Packed], kinds: Kinds) -> pa.Table:
    """One table of all chunks, of the final types."""
    parts = [_part(held, n, kinds) for held, n in chunks]
    return pa.concat_tables(parts) if parts else schema(kinds).empty_table()


def to_json(value: Any) -> str:
    """JSON text of what Parquet and Python hand out."""
    return json.dumps(value, ensure_ascii=False, default=_known)


class _JsonText(str):
    """A nested value, written as JSON already."""


def _part(columns: Mapping[str, Any], n: int, kinds: Kinds) -> pa.Table:
    ready = {}
    for name, held in kinds.items():
        values = columns.get(name)
        if values is None:
            ready[name] = pa.nulls(n, _type(held))
        elif isinstance(values, pa.Array) and held == {str}:
            ready[name] = values
        else:
            listed = values.to_pylist() if isinstance(values, pa.Array) else values
            ready[name] = pa.array([_cell(value, held) for value in listed], _type(held))
    return pa.table(ready)


def _kind(value: Any) -> type:
    if isinstance(value, _JsonText):
        return dict
    kind = type(plain(value))
    if kind is int and not -(2**63) <= value < 2**63:
        return dict  # no column type holds it
    return kind if kind in (str, int, float, bool) else dict


def _light(value: Any) -> Any:
    if absent(value):
        return None
    return _JsonText(to_json(value)) if _kind(value) is dict else plain(value)


def _type(held: set[type]) -> pa.DataType:
    simple = {str: TEXT, int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    if held == {int, float}:
        return pa.float64()
    only = next(iter(held)) if len(held) == 1 else dict
    return simple.get(only, TEXT)


def _cell(value: Any, held: set[type]) -> Any:
    if absent(value):
        return None
    if held == {int, float}:
        return float(plain(value))
    if len(held) == 1 and dict not in held:
        return plain(value)
    return str(value) if isinstance(value, _JsonText) else to_json(value)


def _known(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
