"""Files that are there whole or not at all, whatever ends the process that writes them."""

import os
from pathlib import Path


def write_whole(path: Path, data: str | bytes) -> None:
    """Write a file, over an earlier one, so that a reader sees the old or the new, never a part.

    Text is written as UTF-8; the folder is made if need be.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(data.encode() if isinstance(data, str) else data)
    os.replace(part, path)
