"""Files that are there whole or not at all, whatever ends the process that writes them."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ABANDONED = 86_400  # seconds without a byte written, after which nobody writes a file any more


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write a file, over an earlier one, so that a reader sees the old or the new, never a part.

    Text is written as UTF-8; the folder is made if need be.
    """
    with writing_atomic(path) as part:
        part.write_bytes(data.encode() if isinstance(data, str) else data)


@contextmanager
def writing_atomic(path: Path) -> Iterator[Path]:
    """The file to write in its stead: it takes the place of `path` at the end, or is deleted.

    Its folder is made if need be.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def sweep(folder: Path, pattern: str = "*") -> None:
    """Delete what processes that were killed left half-written in a folder, once it is a day old.

    The number in its name says nothing of a process on another machine, so age decides. What may
    not be deleted stays.
    """
    for half in folder.glob(f"{pattern}.part"):
        with suppress(OSError):
            if half.is_file() and time.time() - half.stat().st_mtime > ABANDONED:
                half.unlink()
