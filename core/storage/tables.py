"""Read what steps wrote: columns of Parquet tables through DuckDB, JSON records, JSON lines.

Only the columns that are asked for leave the disk. Their names are checked against the file and
never pasted into SQL unquoted. Knows nothing of what the columns mean.
"""

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from core.errors import UserError

REPAIR = "If it is a run's, delete the run's folder and run the step again."


def table(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Some columns of a Parquet file, or all, in file order.

    Yes/no columns are nullable: a missing value stays missing.
    """
    with duckdb.connect() as connection:
        known = _columns(connection, path)
        wanted = list(columns) if columns is not None else known
        _check(path, wanted, known)
        query = f"SELECT {', '.join(map(_quoted, wanted))} FROM read_parquet(?)"
        return _frame(_rows(connection, query, path))


def whole(path: Path) -> pd.DataFrame:
    """All of a Parquet file with the types it was written with, to compute with or pass on."""
    try:
        return pd.read_parquet(_existing(path))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def columns(path: Path) -> list[str]:
    """The names of a Parquet file's columns."""
    with duckdb.connect() as connection:
        return _columns(connection, path)


def record(path: Path) -> dict[str, Any]:
    """A JSON object, such as a run's summary.json."""
    try:
        content: Any = json.loads(_existing(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable JSON ({error}). {REPAIR}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no JSON object. {REPAIR}")
    return content


def array(path: Path) -> NDArray[Any]:
    """A .npy array, mapped into memory: only what is used is read."""
    try:
        found: NDArray[Any] = np.load(_existing(path), mmap_mode="r", allow_pickle=False)
    except (EOFError, ValueError) as error:
        raise UserError(f"{path}: not a readable array ({error}). {REPAIR}") from error
    return found


def arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Every array of a .npz file."""
    try:
        with np.load(_existing(path), allow_pickle=False) as content:
            return dict(content)
    except (AttributeError, EOFError, ValueError, TypeError, BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: not readable arrays ({error}). {REPAIR}") from error


def lines(path: Path) -> pd.DataFrame:
    """A JSON-lines file that may still be growing; a last line cut short is left out."""
    if not path.exists():
        return pd.DataFrame()
    try:
        whole = path.read_text(encoding="utf-8").rpartition("\n")[0]
        return pd.DataFrame([json.loads(line) for line in whole.splitlines()])
    except ValueError as error:
        raise UserError(f"{path}: not readable JSON lines ({error}). {REPAIR}") from error


def _rows(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> pa.Table:
    """What a query gives; a file whose footer is whole may still be damaged in the middle."""
    try:
        return connection.sql(query, params=[str(path)]).to_arrow_table()
    except duckdb.Error as error:
        raise _unreadable(path, error) from error


def _columns(connection: duckdb.DuckDBPyConnection, path: Path) -> list[str]:
    try:
        described = connection.execute(
            "SELECT column_name FROM (DESCRIBE SELECT * FROM read_parquet(?))",
            [str(_existing(path))],
        )
    except duckdb.Error as error:
        raise _unreadable(path, error) from error
    return [row[0] for row in described.fetchall()]


def _unreadable(path: Path, error: Exception) -> UserError:
    first = str(error).partition("\n")[0]
    return UserError(f"{path}: not a readable Parquet file ({first}). {REPAIR}")


def _frame(rows: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = rows.to_pandas(types_mapper={pa.bool_(): pd.BooleanDtype()}.get)
    return frame


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"{path}: there is no such file.")
    return path


def _check(path: Path, named: Sequence[str], known: Sequence[str]) -> None:
    unknown = sorted(set(named) - set(known))
    if unknown:
        raise UserError(f"{path}: has no column {unknown}. It has: {', '.join(known)}.")


def _quoted(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'
