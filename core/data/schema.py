"""Column types of a preference set, and limits on its texts and columns.

A column has one type: text, integer, float or boolean. Integers and floats together are floats; a
column of lists or objects, or of mixed types, becomes JSON text. The type is known once every row
was seen. Knows nothing of pairs.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from core.data.trl_formats import absent, plain

MAX_COLUMNS = 256
MAX_TEXT = 1_000_000  # characters of one field; the longest real completions have tens of thousands
TEXT = pa.large_string()  # 32-bit offsets end at 2 GB of text

Kinds = dict[str, set[type]]  # the types of values that were seen in each column


def see(kinds: Kinds, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add the types of some rows to those of the columns."""
    for row in rows:
        for name, value in row.items():
            types = kinds.setdefault(name, set())
            if not absent(value):
                types.add(_kind(value))


def to_table(rows: Sequence[Mapping[str, Any]], kinds: Kinds) -> pa.Table:
    """Some rows as a table, each column of the type that contains all values seen."""
    columns = {
        name: pa.array([_cell(row.get(name), types) for row in rows], _type(types))
        for name, types in kinds.items()
    }
    return pa.table(columns)


def to_json(value: Any) -> str:
    """JSON text of a value as Parquet, Arrow or NumPy return it."""
    return json.dumps(value, ensure_ascii=False, default=_serializable)


def text_problem(text: str, *, longest: int | None = MAX_TEXT) -> str:
    """Why a text cannot be stored (too long, or lone surrogates); empty where it can."""
    if longest is not None and len(text) > longest:
        return f"{len(text):,} characters; at most {longest:,} are read"
    try:
        text.encode()
    except UnicodeEncodeError:  # JSON can spell half a surrogate pair, UTF-8 cannot
        return "not valid Unicode text"
    return ""


def _kind(value: Any) -> type:
    kind = type(plain(value))
    if kind is int and not -(2**63) <= value < 2**63:
        return dict  # outside of int64
    return kind if kind in (str, int, float, bool) else dict


def _type(types: set[type]) -> pa.DataType:
    if types == {int, float}:
        return pa.float64()
    simple = {str: TEXT, int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    return simple.get(next(iter(types)), TEXT) if len(types) == 1 else TEXT


def _cell(value: Any, types: set[type]) -> Any:
    if absent(value):
        return None
    if types == {int, float}:
        return float(plain(value))
    return plain(value) if len(types) == 1 and dict not in types else to_json(value)


def _serializable(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
