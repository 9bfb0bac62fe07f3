"""Rows of a data file of any format, read one after another in constant memory.

JSON lines, a JSON list and CSV (each also as `.gz`), Parquet, Arrow, a folder of such files, and
folders that `datasets` saved. A bad row comes as the reason why it is bad; a file of another format
than its name says is refused. Nothing is unpickled or fetched. Knows nothing of what rows mean.
"""

import csv
import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from core.data import parquet
from core.data.schema import MAX_COLUMNS
from core.errors import UserError
from core.storage.parse import from_json, refuse_depth

FORMATS = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".csv", ".csv.gz", ".parquet", ".arrow")
BOOKKEEPING = ("dataset_info.json", "state.json", "dataset_dict.json", "dataset_infos.json")
MAX_LINE = 1 << 26  # bytes; one line that unpacks to gigabytes would fill the memory
MAX_SKIPPED = 1 << 28  # bytes of one line that are unpacked to find its end
MAX_CELL = 1 << 24  # characters: a longer text is no preference pair, but would fill the memory
MAX_JSON = 1 << 28  # characters of a JSON list, which is in memory as a whole
SIGNATURES = {
    b"PAR1": "Parquet",
    b"ARROW1": "Arrow",
    b"\xff\xff\xff\xff": "Arrow",
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "a zip archive",
    b"(\xb5/\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"SQLite format 3": "SQLite",
    b"\x89HDF": "HDF5",
    b"\x93NUMPY": "a NumPy array",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    **{b"\x80" + bytes([version]): "a Python pickle" for version in range(2, 6)},
}


class Line(NamedTuple):
    """A row's number (from 1) and its fields, or the reason why it has none."""

    row: int
    value: dict[str, Any]
    reason: str


def read_records(path: Path) -> Iterator[Line]:
    """Every row, numbered from 1; a folder is read file by file, in order of name."""
    row = 0
    for file in files(path):
        last = row
        for line in _rows(file):
            row = last + line.row
            n = len(line.value)
            if n > MAX_COLUMNS:
                yield Line(row, {}, f"has {n:,} fields; at most {MAX_COLUMNS} are read")
            else:
                yield line._replace(row=row)


def kind(path: Path) -> str:
    """The format that a file's name ends in; `UserError` where it is none that is read."""
    name = path.name.lower()
    form = next((form for form in FORMATS if name.endswith(form)), None)
    if form is None:
        raise UserError(
            f"{path}: not a file that is read. Known: {', '.join(FORMATS)}, and folders that "
            "`datasets` saved. Convert the file."
        )
    return form


def files(path: Path) -> list[Path]:
    """The data files behind a path: itself, or those of a folder in order of name."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{path}: no such file. Check the path.")
    if (path / "dataset_dict.json").is_file():
        names = sorted(part.name for part in path.iterdir() if part.is_dir())
        if "train" not in names:
            raise UserError(f"{path}: name the split's folder, one of {', '.join(names)}.")
        path = path / "train"
    data = sorted(file for file in path.rglob("*") if _is_data(file))
    if not data:
        raise UserError(f"{path}: contains no data files ({', '.join(FORMATS)}).")
    return data


def _is_data(file: Path) -> bool:
    """Whether this is a data file, not one that `datasets` writes beside them."""
    if file.name in BOOKKEEPING or file.name.startswith((".", "cache-")):
        return False
    return file.name.lower().endswith(FORMATS) and file.is_file()


def _rows(path: Path) -> Iterator[Line]:
    form = kind(path)
    _refuse_other_format(path, form)
    if form.startswith(".jsonl"):
        return _json_lines(path)
    if form.startswith(".json"):
        return _json_list(path)
    if form.startswith(".csv"):
        return _csv(path)
    return _table(path, form)


def _refuse_other_format(path: Path, form: str) -> None:
    """`UserError` where a file's first bytes belong to another format than its name."""
    with path.open("rb") as stream:
        head = stream.read(16)
    content = next((name for start, name in SIGNATURES.items() if head.startswith(start)), "")
    if head[4:9] == b"\0\0\0\0{":  # 8 bytes of length, then a JSON header
        content = "safetensors"
    packed = "gzip" if form.endswith(".gz") else ""
    if content and content != {".parquet": "Parquet", ".arrow": "Arrow"}.get(form, packed):
        raise UserError(
            f"{path}: its name says {form}, but it contains {content}, by its first bytes. Rename "
            "it, or convert it to one of the formats that are read."
        )


def _json_lines(path: Path) -> Iterator[Line]:
    """Every line that is not blank; a file cut off inside gzip ends with a reason."""
    row = 0
    with opened(path) as stream:
        try:
            while raw := stream.readline(MAX_LINE):
                row += 1
                if len(raw) == MAX_LINE and not raw.endswith(b"\n"):
                    ended = _skip_line(stream)
                    yield Line(row, {}, f"longer than {MAX_LINE >> 20} MB")
                    if not ended:
                        yield Line(row + 1, {}, "not looked for: that line has no end")
                        return
                elif raw.strip():
                    yield _json_line(row, raw)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            yield Line(row + 1, {}, f"the compressed file is damaged from here on ({error})")


def _skip_line(stream: gzip.GzipFile | io.BufferedReader) -> bool:
    """Whether the line's end is within reach."""
    for _ in range(MAX_SKIPPED // MAX_LINE):
        rest = stream.readline(MAX_LINE)
        if not rest or rest.endswith(b"\n"):
            return True
    return False


def _json_line(row: int, raw: bytes) -> Line:
    try:
        text = raw.decode("utf-8-sig" if row == 1 else "utf-8")
    except UnicodeDecodeError as error:
        return Line(row, {}, f"not UTF-8 text (byte {error.start} of the line); save it as UTF-8")
    try:
        return _json_object(row, from_json(text))
    except ValueError as error:
        cut = "" if text.endswith("\n") else "; the file's last line is cut off"
        return Line(row, {}, f"not JSON ({error}){cut}")


def _json_object(row: int, value: Any) -> Line:
    if isinstance(value, dict):
        return Line(row, value, "")
    return Line(row, {}, f"a {type(value).__name__}, not an object of named fields")


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
        yield from _json_lines(path)
        return
    for row, item in enumerate(value if isinstance(value, list) else [value], start=1):
        yield _json_object(row, item)


def _csv(path: Path) -> Iterator[Line]:
    csv.field_size_limit(min(MAX_CELL, sys.maxsize))
    with _text(path) as stream:
        rows = _csv_rows(csv.reader(_bounded_lines(stream), strict=True))
        header = next(rows, None)
        if header is None:
            return
        if isinstance(header, list) and len(header) > MAX_COLUMNS:
            header = f"has {len(header):,} columns; at most {MAX_COLUMNS} are read"
        if isinstance(header, str):
            yield Line(1, {}, header)
            return
        for row, cells in enumerate(rows, start=1):
            if isinstance(cells, str):
                yield Line(row, {}, cells)
            elif cells and len(cells) != len(header):
                yield Line(row, {}, f"has {len(cells)} cells; the header names {len(header)}")
            elif cells:
                named = zip(header, cells, strict=True)
                yield Line(row, {name: cell or None for name, cell in named}, "")


def _bounded_lines(stream: io.TextIOWrapper) -> Iterator[str]:
    while line := stream.readline(MAX_LINE):
        if len(line) == MAX_LINE and not line.endswith("\n"):
            raise csv.Error(f"a line of more than {MAX_LINE >> 20} million characters")
        yield line


def _csv_rows(reader: Iterator[list[str]]) -> Iterator[list[str] | str]:
    """Rows of a CSV file; where one cannot be read, its reason, and no more."""
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except (csv.Error, UnicodeDecodeError, EOFError, OSError, zlib.error) as error:
            yield f"not readable from here on ({error}); save it as UTF-8 CSV"
            return


def _table(path: Path, form: str) -> Iterator[Line]:
    """Rows of a Parquet or Arrow file, as Python values."""
    row = 0
    with parquet.readable(path, "Parquet" if form == ".parquet" else "Arrow"):
        for batch in parquet.batches(path) if form == ".parquet" else _arrow_batches(path):
            for value in batch.to_pylist():
                row += 1
                refuse_depth(value)
                yield Line(row, value, "")


def _arrow_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The batches of an Arrow stream, which `datasets` saves, or of an Arrow file."""
    with pa.memory_map(str(path)) as source:
        try:
            reader = pa.ipc.open_stream(source)
        except pa.ArrowInvalid:
            file = pa.ipc.open_file(source)
            reader = (file.get_batch(i) for i in range(file.num_record_batches))
        for batch in reader:
            batch.validate(full=True)  # Arrow trusts the offsets that a file names
            yield batch


@contextmanager
def _text(path: Path) -> Iterator[io.TextIOWrapper]:
    with opened(path) as raw:
        yield io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")


def opened(path: Path) -> gzip.GzipFile | io.BufferedReader:
    """The bytes of a file, unpacked where its name ends in .gz."""
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")
