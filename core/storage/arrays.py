"""Arrays on disk that are filled in place, through memory.

A file that is mapped is at first a hole: its blocks are taken as they are written, and where the
disk is full by then, the kernel ends the process without a word. So they are taken first.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np


def new_mapped(path: Path, shape: tuple[int, ...]) -> "np.memmap[Any, np.dtype[np.float32]]":
    """A new .npy file of float32 zeros, mapped; `OSError` where the disk has no room for it."""
    rows = np.lib.format.open_memmap(path, "w+", dtype=np.float32, shape=shape)
    if hasattr(os, "posix_fallocate"):  # macOS has none
        with path.open("r+b") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(path)) from error
    return rows
