"""Readers for what steps wrote: Parquet tables, JSON records, JSON lines, arrays; mapped arrays.

A damaged file is a `UserError` that names it. Knows nothing of what the values mean.
"""

import json
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.errors import UserError

REPAIR = "If it is a run's, delete the run's folder and run the step again."


def table(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Some columns of a Parquet file, or all, in file order; only these are read.

    Booleans are nullable: a missing value stays missing. Categories are plain values.
    """
    with _reading_parquet(path), pq.ParquetFile(path, memory_map=True) as file:
        names = file.schema_arrow.names
        columns = names if columns is None else list(columns)
        missing = sorted(set(columns) - set(names))
        if missing:
            raise UserError(f"{path}: has no column {missing}. It has: {', '.join(names)}.")
        rows = file.read(columns).select(columns).replace_schema_metadata(None)
        rows.validate(full=True)  # a file whose footer is intact may be damaged in the middle
        rows = rows.cast(pa.schema([field.with_type(_plain(field.type)) for field in rows.schema]))
        frame: pd.DataFrame = rows.to_pandas(types_mapper={pa.bool_(): pd.BooleanDtype()}.get)
        return frame


def data_frame(path: Path) -> pd.DataFrame:
    """All of a Parquet file with the pandas types it was written with."""
    with _reading_parquet(path):
        return pd.read_parquet(path)


def columns(path: Path) -> list[str]:
    """The names of a Parquet file's columns."""
    with _reading_parquet(path):
        names: list[str] = pq.read_schema(path).names
        return names


def record(path: Path) -> dict[str, Any]:
    """A JSON object, such as a run's summary.json."""
    try:
        content: Any = json.loads(_existing(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable JSON ({error}). {REPAIR}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: contains no JSON object. {REPAIR}")
    return content


def lines(path: Path) -> pd.DataFrame:
    """A JSON-lines file that may still be growing; a last line cut short is left out."""
    if not path.exists():
        return pd.DataFrame()
    try:
        complete = path.read_text(encoding="utf-8").rpartition("\n")[0]
        return pd.DataFrame([json.loads(line) for line in complete.splitlines()])
    except ValueError as error:
        raise UserError(f"{path}: not readable JSON lines ({error}). {REPAIR}") from error


def array(path: Path) -> NDArray[Any]:
    """A .npy array, mapped into memory: only what is used is read."""
    try:
        values: NDArray[Any] = np.load(_existing(path), mmap_mode="r", allow_pickle=False)
    except (EOFError, ValueError) as error:
        raise UserError(f"{path}: not a readable array ({error}). {REPAIR}") from error
    return values


def arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Every array of a .npz file."""
    try:
        with np.load(_existing(path), allow_pickle=False) as content:
            return dict(content)
    except (AttributeError, EOFError, ValueError, TypeError, BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: not readable arrays ({error}). {REPAIR}") from error


def new_mapped(path: Path, shape: tuple[int, ...]) -> "np.memmap[Any, np.dtype[np.float32]]":
    """A new .npy file of float32 zeros, mapped to be filled in place.

    `OSError` where the disk has no room for it: its blocks are allocated at once, because a write
    through memory to a full disk would end the process without a message.
    """
    rows = np.lib.format.open_memmap(path, "w+", dtype=np.float32, shape=shape)
    if hasattr(os, "posix_fallocate"):  # macOS has none
        with path.open("r+b") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(path)) from error
    return rows


@contextmanager
def _reading_parquet(path: Path) -> Iterator[None]:
    _existing(path)
    try:
        yield
    except (OSError, ValueError, LookupError, pa.ArrowException) as error:
        first = str(error).partition("\n")[0]
        raise UserError(f"{path}: not a readable Parquet file ({first}). {REPAIR}") from error


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return kind.value_type
    return pa.float64() if pa.types.is_null(kind) else kind  # no value at all: NaN


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"{path}: there is no such file.")
    return path
