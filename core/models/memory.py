"""Freed memory stays with the process, so that the next batch does not fault it in again.

Each forward pass allocates and frees the same megabytes; glibc hands them back to the system, and
every page costs a fault on its next use: up to 20% of extraction's CPU time on small models.
Elsewhere than under glibc nothing is done.
"""

import ctypes
import sys
from functools import lru_cache

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # names of mallopt's parameters, from malloc.h
KEPT = 1 << 30  # bytes of free heap that are not given back
LARGEST = 32 << 20  # bytes of the largest block taken from the heap; glibc allows no more


@lru_cache(maxsize=1)
def keep_freed_memory() -> bool:
    """Tell the allocator once; whether it could be told."""
    if not sys.platform.startswith("linux"):
        return False
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    return set_option is not None and all(
        [set_option(MMAP_THRESHOLD, LARGEST), set_option(TRIM_THRESHOLD, KEPT)]
    )
