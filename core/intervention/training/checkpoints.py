"""Checkpoints that are, to the byte, what was written.

The last file of a checkpoint lists the SHA-256 of all the others, as `sha256sum` does. One without
it was cut off, one that no longer agrees with it is damaged; neither is ever resumed from.

Room on the disk for a training's checkpoints, asked for before they are written.

A full disk is met halfway through a file, by a library that says so in its own words or not at
all. So what a checkpoint needs is computed from the model, and a training that would not fit stops
where its last checkpoint is whole. Other writers can still fill the disk in between.
"""

import logging
import shutil
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.runs.hashing import sha256
from core.specs.steps import TrainSpec
from core.storage.atomic import write_atomic

SEAL = "whole"


def seal(folder: Path) -> None:
    """Say that a checkpoint was written to its end."""
    write_atomic(folder / SEAL, _listed(folder))


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


MARGIN = 1 << 20  # log, configuration and tokenizer, in bytes


def room_needed(model: Any, spec: TrainSpec) -> int:
    """Bytes of one checkpoint and of the trained model.

    A checkpoint holds what is trained in float32, and two moments of each weight of it; the
    model holds all weights.
    """
    weights = trained = sum(parameter.numel() for parameter in model.parameters())
    if spec.method == "lora":  # rank × (inputs + outputs) per matrix
        trained = spec.lora_r * sum(sum(p.shape) for p in model.parameters() if p.dim() == 2)
    return 4 * (3 * trained + weights) + MARGIN


def refuse_full_disk(folder: Path, needed: int) -> None:
    """Raises `UserError` where a folder's disk has no room for `needed` bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder}: the disk is full: {free / 2**20:,.1f} MiB are free and "
            f"{needed / 2**20:,.1f} MiB are needed. Free some, then start the run again: "
            "it goes on from its last checkpoint."
        )
