"""The allocator is told once to keep what is freed, and to hold it in large pages."""

import subprocess
import sys

import pytest

from core.models.malloc import keep_freed_memory

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")


@linux
def test_glibc_takes_the_settings() -> None:
    assert keep_freed_memory()


@linux
def test_large_pages_are_asked_for_where_the_heap_grows() -> None:
    code = (
        "from core.models.malloc import keep_freed_memory as keep; keep();"
        "print(open('/proc/self/smaps').read())"
    )
    maps = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heap = maps.stdout.split("[heap]", 1)[1]
    flags = [line.split() for line in heap.splitlines() if line.startswith("VmFlags")][:2]
    assert any("hg" in line for line in flags)  # of the heap as it was, and as it grew
