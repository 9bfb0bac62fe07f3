"""JSON lines, one object per line, read so that a bad line costs that line and nothing else.

Rows are line numbers, from 1. Text is UTF-8; `.gz` files are unpacked on the way. NaN and
Infinity, which Python writes and JSON does not know, are read as null. Knows nothing of what the
objects mean.
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

MAX_LINE = 1 << 26  # bytes; one line that unpacks to gigabytes would fill the memory


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
                    _skip_line(stream)
                    yield Line(row, {}, f"longer than {MAX_LINE >> 20} MB")
                elif raw.strip():
                    yield _parse(row, raw)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            yield Line(row + 1, {}, f"the compressed file is damaged from here on ({error})")


def _skip_line(stream: IO[bytes] | gzip.GzipFile) -> None:
    while (rest := stream.readline(MAX_LINE)) and not rest.endswith(b"\n"):
        pass


def _parse(row: int, raw: bytes) -> Line:
    try:
        text = raw.decode("utf-8-sig" if row == 1 else "utf-8")
    except UnicodeDecodeError as error:
        return Line(row, {}, f"not UTF-8 text (byte {error.start} of the line); save it as UTF-8")
    try:
        value = json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        cut = "" if text.endswith("\n") else "; the file's last line is cut off"
        return Line(row, {}, f"not JSON ({error}){cut}")
    if not isinstance(value, dict):
        return Line(row, {}, f"a {type(value).__name__}, not an object of named fields")
    return Line(row, value, "")
