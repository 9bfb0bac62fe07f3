"""JSON lines, one object per line, read so that a bad line costs that line and nothing else.

Rows are line numbers, from 1. Text is UTF-8; `.gz` files are unpacked on the way. Knows nothing of
what the objects mean.

Rows of any file that people keep data in, a thousand at a time, so that size costs no memory.

JSON lines, Parquet, CSV (each also as `.gz` where the format has no packing of its own), a JSON
list, a folder of such files, and folders that `datasets` saved. Bad rows come as reasons, good
ones as they are; a file that is another kind than its name says is refused. Nothing is unpickled
and nothing is fetched. Knows nothing of what rows mean.
"""

import csv
import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa

from core.data import parquet
from core.data.formats import refuse_disguised
from core.data.schema import MAX_COLUMNS
from core.errors import UserError
from core.storage.parse import from_json, refuse_depth

MAX_LINE = 1 << 26  # bytes; one line that unpacks to gigabytes would fill the memory
MAX_SKIPPED = 1 << 28  # bytes of one line that are unpacked to find its end


class Line(NamedTuple):
    """An object, or the reason why there is none."""

    row: int
    value: dict[str, Any]
    reason: str


def read_lines(path: Path) -> Iterator[Line]:
    """Every line that is not blank, in order; a file cut off inside gzip ends with a reason."""
    row = 0
    with gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb") as stream:
        try:
            while raw := stream.readline(MAX_LINE):
                row += 1
                if len(raw) == MAX_LINE and not raw.endswith(b"\n"):
                    found = _skip_line(stream)
                    yield Line(row, {}, f"longer than {MAX_LINE >> 20} MB")
                    if not found:
                        yield Line(row + 1, {}, "not looked for: that line has no end")
                        return
                elif raw.strip():
                    yield _parse(row, raw)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            yield Line(row + 1, {}, f"the compressed file is damaged from here on ({error})")


def _skip_line(stream: IO[bytes] | gzip.GzipFile) -> bool:
    """Whether the line's end is within reach."""
    for _ in range(MAX_SKIPPED // MAX_LINE):
        rest = stream.readline(MAX_LINE)
        if not rest or rest.endswith(b"\n"):
            return True
    return False


def _parse(row: int, raw: bytes) -> Line:
    try:
        text = raw.decode("utf-8-sig" if row == 1 else "utf-8")
    except UnicodeDecodeError as error:
        return Line(row, {}, f"not UTF-8 text (byte {error.start} of the line); save it as UTF-8")
    try:
        value = from_json(text)
    except ValueError as error:
        cut = "" if text.endswith("\n") else "; the file's last line is cut off"
        return Line(row, {}, f"not JSON ({error}){cut}")
    if not isinstance(value, dict):
        return Line(row, {}, f"a {type(value).__name__}, not an object of named fields")
    return Line(row, value, "")


FORMATS = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".csv", ".csv.gz", ".parquet", ".arrow")
MAX_CELL = 1 << 24  # characters: a longer text is no preference pair, but would fill the memory
MAX_JSON = 1 << 28  # characters of a JSON list, which is in memory as a whole


def read_records(path: Path) -> Iterator[Line]:
    """Every row with its number, from 1; a folder is read file by file, in order of name."""
    row = 0
    for file in _files(path):
        last = row
        for line in _rows(file):
            row = last + line.row
            yield _within_bounds(line._replace(row=row))


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


def _within_bounds(line: Line) -> Line:
    """The line, or why it is not taken: what follows holds a column for each field."""
    if len(line.value) <= MAX_COLUMNS:
        return line
    return Line(line.row, {}, f"has {len(line.value):,} fields; at most {MAX_COLUMNS} are read")


def _rows(path: Path) -> Iterator[Line]:
    form = kind(path)
    refuse_disguised(path, form)
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
    with parquet.readable(path, "Parquet" if form == ".parquet" else "Arrow"):
        for batch in parquet.batches(path) if form == ".parquet" else _arrow(path):
            for value in batch.to_pylist():
                row += 1
                refuse_depth(value)
                yield Line(row, value, "")


def _arrow(path: Path) -> Iterator[pa.RecordBatch]:
    """A file's batches, each looked through first: Arrow trusts places that a file names."""
    for batch in _arrow_batches(path):
        batch.validate(full=True)
        yield batch


def _arrow_batches(path: Path) -> Iterator[pa.RecordBatch]:
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
        reader = csv.reader(_lines(stream), strict=True)
        header = next(_careful(reader), None)
        if header is None:
            return
        if isinstance(header, list) and len(header) > MAX_COLUMNS:
            header = f"has {len(header):,} columns; at most {MAX_COLUMNS} are read"
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


def _lines(stream: io.TextIOWrapper) -> Iterator[str]:
    while line := stream.readline(MAX_LINE):
        if len(line) == MAX_LINE and not line.endswith("\n"):
            raise csv.Error(f"a line of more than {MAX_LINE >> 20} million characters")
        yield line


def _careful(reader: Iterator[list[str]]) -> Iterator[list[str] | str]:
    """Rows of a CSV file; after one that cannot be read, its reason, and no more."""
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except (csv.Error, UnicodeDecodeError, EOFError, OSError, zlib.error) as error:
            yield f"not readable from here on ({error}); save it as UTF-8 CSV"
            return


def _json_list(path: Path) -> Iterator[Line]:
    """A JSON file that is one list of objects, or JSON lines under that name."""
    try:
        with _text(path) as stream:
            text = stream.read(MAX_JSON + 1)
    except (UnicodeDecodeError, EOFError, OSError, zlib.error) as error:
        yield Line(1, {}, f"not readable ({error}); save it as UTF-8 JSON")
        return
    if len(text) > MAX_JSON:
        raise UserError(
            f"{path}: more than {MAX_JSON >> 20} million characters in one list, which must be in "
            "memory as a whole. Save it as JSON lines (.jsonl) or Parquet."
        )
    try:
        value = from_json(text)
    except ValueError:
        yield from read_lines(path)
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
