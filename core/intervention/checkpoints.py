"""Checkpoints that are, to the byte, what was written.

The last file of a checkpoint lists the SHA-256 of all the others, as `sha256sum` does. One without
it was cut off, one that no longer agrees with it is damaged; neither is ever resumed from.
"""

import logging
import shutil
from pathlib import Path

from core.data.whole import write_whole
from core.runs.fingerprints import sha256

SEAL = "whole"


def seal(folder: Path) -> None:
    """Say that a checkpoint was written to its end."""
    write_whole(folder / SEAL, _listed(folder))


def last_whole(folder: Path) -> Path | None:
    """The newest checkpoint that is whole; newer ones, which are not, are deleted."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    for path in reversed(found):
        if _is_whole(path):
            return path
        logging.getLogger(__name__).warning("%s was cut off or damaged, and is deleted", path.name)
        shutil.rmtree(path)
    return None


def _is_whole(folder: Path) -> bool:
    path = folder / SEAL
    return path.is_file() and path.read_bytes() == _listed(folder).encode()


def _listed(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SEAL)
    return "".join(f"{sha256(path)}  {path.relative_to(folder)}\n" for path in files)
