"""Rows of any file that people keep data in, a thousand at a time, so that size costs no memory.

JSON lines, Parquet, CSV (each also as `.gz` where the format has no packing of its own), a JSON
list, a folder of such files, and folders that `datasets` saved. Bad rows come as reasons, good
ones as they are. Nothing is unpickled and nothing is fetched. Knows nothing of what rows mean.
"""

import csv
import gzip
import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from core.data.jsonl import Line, read_lines
from core.errors import UserError

FORMATS = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".csv", ".csv.gz", ".parquet", ".arrow")
MAX_CELL = 1 << 24  # characters: a longer text is no preference pair, but would fill the memory
BATCH = 1024  # rows of Parquet in memory at once
BUFFER = 1 << 20  # bytes of a Parquet column read ahead


def read_records(path: Path) -> Iterator[Line]:
    """Every row with its number, from 1; a folder is read file by file, in order of name."""
    row = 0
    for file in _files(path):
        last = row
        for line in _rows(file):
            row = last + line.row
            yield line._replace(row=row)


def kind(path: Path) -> str:
    """The format that a file's name ends in; `UserError` where it is none that is read."""
    name = path.name.lower()
    found = next((form for form in FORMATS if name.endswith(form)), None)
    if found is None:
        raise UserError(
            f"{path}: not a file that is read. Known: {', '.join(FORMATS)}, and folders that "
            "`datasets` saved. Convert the file."
        )
    return found


def files(path: Path) -> list[Path]:
    """The data files behind a path: itself, or those of a folder in order of name."""
    return list(_files(path))


def open_parquet(path: Path) -> pq.ParquetFile:
    """A Parquet file whose rows are read as they are asked for.

    By default whole columns are read ahead: 1.2 GB for 378k pairs that lie in one row group.
    """
    return pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False)


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    if not path.is_dir():
        raise UserError(f"{path}: no such file. Check the path.")
    splits = path / "dataset_dict.json"
    if splits.is_file():
        names = sorted(part.name for part in path.iterdir() if part.is_dir())
        if "train" not in names:
            raise UserError(f"{path}: name the split's folder, one of {', '.join(names)}.")
        path = path / "train"
    found = sorted(
        file
        for file in path.rglob("*")
        if file.name.lower().endswith(FORMATS) and not _is_bookkeeping(file)
    )
    if not found:
        raise UserError(f"{path}: holds no data files ({', '.join(FORMATS)}).")
    yield from found


def _is_bookkeeping(file: Path) -> bool:
    """What `datasets` writes beside the data, and caches."""
    names = ("dataset_info.json", "state.json", "dataset_dict.json", "dataset_infos.json")
    return file.name in names or file.name.startswith((".", "cache-")) or not file.is_file()


def _rows(path: Path) -> Iterator[Line]:
    form = kind(path)
    if form.startswith(".jsonl"):
        return read_lines(path)
    if form.startswith(".json"):
        return _json_list(path)
    if form.startswith(".csv"):
        return _csv(path)
    return _table(path, form)


def _table(path: Path, form: str) -> Iterator[Line]:
    """Rows of a Parquet or Arrow file, as Python values."""
    row = 0
    try:
        for batch in _parquet(path) if form == ".parquet" else _arrow(path):
            for value in batch.to_pylist():
                row += 1
                yield Line(row, value, "")
    except (pa.ArrowException, OSError, ValueError) as error:
        name = "Parquet" if form == ".parquet" else "Arrow"
        raise UserError(f"{path}: not a readable {name} file ({error}). Copy it again.") from error


def _parquet(path: Path) -> Iterator[pa.RecordBatch]:
    with open_parquet(path) as file:
        yield from file.iter_batches(batch_size=BATCH)


def _arrow(path: Path) -> Iterator[pa.RecordBatch]:
    """What `datasets` saves is an Arrow stream; a file has its schema at the end as well."""
    with pa.memory_map(str(path)) as source:
        try:
            reader = pa.ipc.open_stream(source)
        except pa.ArrowInvalid:
            opened = pa.ipc.open_file(source)
            yield from (opened.get_batch(i) for i in range(opened.num_record_batches))
            return
        yield from reader


def _csv(path: Path) -> Iterator[Line]:
    csv.field_size_limit(min(MAX_CELL, sys.maxsize))
    with _text(path) as stream:
        reader = csv.reader(stream, strict=True)
        header = next(_careful(reader), None)
        if header is None:
            return
        if isinstance(header, str):
            yield Line(1, {}, header)
            return
        for row, cells in enumerate(_careful(reader), start=1):
            if isinstance(cells, str):
                yield Line(row, {}, cells)
            elif cells and len(cells) != len(header):
                yield Line(row, {}, f"has {len(cells)} cells; the header names {len(header)}")
            elif cells:
                yield Line(row, {name: cell or None for name, cell in zip(header, cells)}, "")  # noqa: B905


def _careful(reader: Iterator[list[str]]) -> Iterator[list[str] | str]:
    """Rows of a CSV file; after one that cannot be read, its reason, and no more."""
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except (csv.Error, UnicodeDecodeError, EOFError, OSError) as error:
            yield f"not readable from here on ({error}); save it as UTF-8 CSV"
            return


def _json_list(path: Path) -> Iterator[Line]:
    """A JSON file that is one list of objects, or JSON lines under that name."""
    try:
        with _text(path) as stream:
            value = json.load(stream, parse_constant=lambda _: None)
    except (json.JSONDecodeError, RecursionError):
        yield from read_lines(path)
        return
    except (UnicodeDecodeError, EOFError, OSError) as error:
        yield Line(1, {}, f"not readable ({error}); save it as UTF-8 JSON")
        return
    for row, item in enumerate(value if isinstance(value, list) else [value], start=1):
        if isinstance(item, dict):
            yield Line(row, item, "")
        else:
            yield Line(row, {}, f"a {type(item).__name__}, not an object of named fields")


@contextmanager
def _text(path: Path) -> Iterator[io.TextIOWrapper]:
    packed = path.name.lower().endswith(".gz")
    with gzip.open(path, "rb") if packed else path.open("rb") as raw:
        yield io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")
