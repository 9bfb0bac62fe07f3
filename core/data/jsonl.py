"""JSON lines, one object per line, read so that a bad line costs that line and nothing else.

Rows are line numbers, from 1. Text is UTF-8; `.gz` files are unpacked on the way. Knows nothing of
what the objects mean.
"""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from core.data.notation import from_json

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
