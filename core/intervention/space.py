"""Room on the disk for a training's checkpoints, asked for before they are written.

A full disk is met halfway through a file, by a library that says so in its own words or not at
all. So what a checkpoint needs is computed from the model, and a training that would not fit stops
where its last checkpoint is whole. Other writers can still fill the disk in between.
"""

import shutil
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.runs.specs import TrainSpec

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
