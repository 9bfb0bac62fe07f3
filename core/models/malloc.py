"""Freed memory stays with the process, in pages of 2 MB, so that the next batch finds it ready.

Each forward pass allocates and frees the same megabytes; glibc hands them back to the system, and
every page costs a fault on its next use: up to 20% of extraction's CPU time on small models. In
pages of 4 kB, finding them costs another 4–7%. Elsewhere than under glibc nothing is done.
"""

import ctypes
import sys
from functools import lru_cache

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3  # names of mallopt's parameters, from malloc.h
KEPT = 1 << 30  # bytes of free heap that are not given back
LARGEST = 32 << 20  # bytes of the largest block taken from the heap; glibc allows no more
GROWN, LITTLE = 512 << 20, 128 << 10  # bytes the heap grows by: once here, and glibc's usual
HUGE_PAGE, ADVISE_HUGE_PAGES = 2 << 20, 14  # bytes; MADV_HUGEPAGE, from mman.h


@lru_cache(maxsize=1)
def keep_freed_memory() -> bool:
    """Tell the allocator once; whether it could be told."""
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None)
    set_option = getattr(libc, "mallopt", None)
    if set_option is None or not all(
        [set_option(MMAP_THRESHOLD, LARGEST), set_option(TRIM_THRESHOLD, KEPT)]
    ):
        return False
    set_option(TOP_PAD, GROWN)
    _grow_in_huge_pages(libc)
    return bool(set_option(TOP_PAD, LITTLE))


def _grow_in_huge_pages(libc: ctypes.CDLL) -> None:
    """Let the heap grow, by addresses only, and ask for large pages there."""
    libc.malloc.restype = libc.sbrk.restype = ctypes.c_void_p
    before = libc.sbrk(0)
    libc.free(ctypes.c_void_p(libc.malloc(ctypes.c_size_t(LARGEST - HUGE_PAGE))))
    start, end = -(-before // HUGE_PAGE) * HUGE_PAGE, libc.sbrk(0)
    if end > start:
        libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), ADVISE_HUGE_PAGES)
