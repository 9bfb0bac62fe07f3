"""Which process wrote a line of a run's progress, so that it is found again and never mistaken.

A number alone says too little: numbers are reused, and a copied workspace carries those of the
original's processes. So a process is also known by when it started, in seconds after the machine
did (which setting the clock does not move), and by the run's folder that it works in.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

APART = 2.0  # seconds: the kernel tells the time of its own start in whole ones


def described(pid: int, folder: Path) -> dict[str, Any]:
    """What tells a live process from every other one: `pid`, `born`, `folder`."""
    return {"pid": pid, "born": _born(psutil.Process(pid)), "folder": str(folder.resolve())}


def found(known: Mapping[str, Any], folder: Path) -> psutil.Process | None:
    """The process of a description, if it still runs and works in `folder`, not in its original."""
    if known.get("folder") != str(folder.resolve()) or not isinstance(known.get("born"), float):
        return None
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(known["pid"])
        same = abs(_born(process) - known["born"]) < APART
        if same and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def _born(process: psutil.Process) -> float:
    return round(process.create_time() - psutil.boot_time(), 2)
