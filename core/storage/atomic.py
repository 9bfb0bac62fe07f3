"""Atomic file writes."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ABANDONED = 86_400  # seconds since the last byte, after which a writer is taken for dead


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write a file, over an earlier one: a reader sees the old or the new content, never a part.

    Text is written as UTF-8; the folder is made where it is missing.
    """
    with writing_atomic(path) as part:
        part.write_bytes(data.encode() if isinstance(data, str) else data)


@contextmanager
def writing_atomic(path: Path) -> Iterator[Path]:
    """A temporary file to write: renamed to `path` at the end, or deleted after an error.

    The folder is made where it is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def sweep(folder: Path, pattern: str = "*") -> None:
    """Delete files that killed processes left half-written in a folder, once they are a day old.

    Age decides, because the process id in a name may be of another machine. What cannot be deleted
    stays.
    """
    for half in folder.glob(f"{pattern}.part"):
        with suppress(OSError):
            if half.is_file() and time.time() - half.stat().st_mtime > ABANDONED:
                half.unlink()
