"""Files that are there whole or not at all, whatever ends the process that writes them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_whole(path: Path, data: str | bytes) -> None:
    """Write a file, over an earlier one, so that a reader sees the old or the new, never a part.

    Text is written as UTF-8; the folder is made if need be.
    """
    with writing_whole(path) as part:
        part.write_bytes(data.encode() if isinstance(data, str) else data)


@contextmanager
def writing_whole(path: Path) -> Iterator[Path]:
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
