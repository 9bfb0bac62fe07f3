"""What all tests share: the order in which files begin, and what numba compiled.

With `--dist loadfile --no-loadscope-reorder` a free process takes the next file, so the files with
long tests come first and many short ones are left to fill the end of both processes.
"""

import os

import pytest

LONG = ("slow", "browser")


def pytest_configure(config: pytest.Config) -> None:
    """Compile for UMAP once, not once in each test's new workspace; what is set already stays.

    Apps of tests do not read or write the user's list of recent workspaces. Matrix products in
    bfloat16 round alike on processors with and without AMX, as bounds were measured.
    """
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
    os.environ["XDG_CONFIG_HOME"] = str(config.cache.mkdir("settings"))
    os.environ.setdefault("NUMBA_CACHE_DIR", str(config.cache.mkdir("numba")))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with a long test first, else as they were."""
    long = {item.path for item in items if any(map(item.get_closest_marker, LONG))}
    items.sort(key=lambda item: item.path not in long)
