"""Training checkpoints: checksums, and disk space asked for before they are written.

The last file of a checkpoint lists the SHA-256 of all the others, as `sha256sum` does. A checkpoint
without it was cut off, one that disagrees with it is damaged; neither is ever resumed from. A
library that fills the disk fails halfway through a file. So the bytes that a checkpoint needs are
computed from the model, and a training that would not fit stops where its last checkpoint is
complete. Other writers can still fill the disk in between.
"""

import logging
import shutil
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.runs.hashing import sha256
from core.specs.steps import TrainSpec
from core.storage.atomic import write_atomic

SEAL = "whole"  # name of the file with the checksums
MARGIN = 1 << 20  # log, configuration and tokenizer, in bytes


def seal(folder: Path) -> None:
    """Write the checksums of a checkpoint that is complete."""
    write_atomic(folder / SEAL, _checksums(folder))


def last_complete(folder: Path) -> Path | None:
    """The newest complete checkpoint; newer ones, cut off or damaged, are deleted."""
    checkpoints = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    for path in reversed(checkpoints):
        if (path / SEAL).is_file() and (path / SEAL).read_bytes() == _checksums(path).encode():
            return path
        logging.getLogger(__name__).warning("%s was cut off or damaged, and is deleted", path.name)
        shutil.rmtree(path)
    return None


def bytes_needed(model: Any, spec: TrainSpec) -> int:
    """Bytes of one checkpoint and of the trained model.

    A checkpoint contains the trained weights in float32 and two moments of each; the model
    contains all weights.
    """
    weights = trained = sum(parameter.numel() for parameter in model.parameters())
    if spec.method == "lora":  # rank × (inputs + outputs) per matrix
        trained = spec.lora_r * sum(sum(p.shape) for p in model.parameters() if p.dim() == 2)
    return 4 * (3 * trained + weights) + MARGIN


def refuse_full_disk(folder: Path, needed: int) -> None:
    """Raises `UserError` where a folder's disk has fewer than `needed` free bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder}: the disk is full: {free / 2**20:,.1f} MiB are free and "
            f"{needed / 2**20:,.1f} MiB are needed. Free some, then start the run again: "
            "it resumes from its last checkpoint."
        )


def _checksums(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SEAL)
    return "".join(f"{sha256(path)}  {path.relative_to(folder)}\n" for path in files)
