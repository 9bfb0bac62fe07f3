"""The allocator is told once to keep what is freed."""

import sys

import pytest

from core.models.memory import keep_freed_memory


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_glibc_takes_both_settings() -> None:
    assert keep_freed_memory()
