"""Projected gradients on disk: one row per pair, memory-mapped, resumable.

    gradients.npy   (n, projected) float32, rows in the order of the pairs
    done.json       what the rows are of, how many are there and what they cost (CPU-seconds);
                    written after the rows

A gradient costs a forward and a backward pass, so what a killed process finished is not done again.
Rows of other models, pairs or settings are never taken for these: the `key` says whose they are.
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.attribution.baselines.gradient import PROJECTED, Contrast, margin_gradients
from core.storage.atomic import write_atomic
from core.storage.tables import new_mapped

CHUNK = 64  # rows between two marks

Floats = NDArray[np.float32]


def gradients_on_disk(
    folder: Path,
    key: str,
    model: Any,
    contrasts: Sequence[Contrast],
    *,
    projected: int = PROJECTED,
    blocks: Sequence[int] | None = None,
    rank: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Floats:
    """The gradients of all contrasts, (n, projected), memory-mapped; only missing ones computed.

    `key` must name the model, the contrasts and their order; shape, blocks and rank are added.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shape = (len(contrasts), projected)
    whose = f"{key} {shape} {None if blocks is None else list(blocks)} {rank}"
    path, mark = folder / "gradients.npy", folder / "done.json"
    done, seconds = _done(mark, whose) if _is_whole(path, shape) else (0, 0.0)
    rows = np.lib.format.open_memmap(path, "r+") if done else new_mapped(path, shape)
    for start in range(done, len(contrasts), CHUNK):
        stop, began = min(start + CHUNK, len(contrasts)), time.process_time()
        rows[start:stop] = margin_gradients(
            model, contrasts[start:stop], projected=projected, blocks=blocks, rank=rank
        )
        rows.flush()
        seconds += time.process_time() - began
        write_atomic(mark, json.dumps({"key": whose, "rows": stop, "cpu": seconds}))
        if progress is not None:
            progress(stop, len(contrasts))
    return rows


def paid(folder: Path) -> float:
    """CPU-seconds that the gradients of a folder took so far; 0 where there are none."""
    return _said(folder / "done.json")[2]


def _is_whole(path: Path, shape: tuple[int, int]) -> bool:
    """Whether the file can be mapped as such rows; one that was damaged is made anew."""
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError):
        return False
    return bool(rows.shape == shape and rows.dtype == np.float32)


def _done(mark: Path, whose: str) -> tuple[int, float]:
    """How many rows of just these gradients are there, and what they cost."""
    key, rows, cpu = _said(mark)
    return (rows, cpu) if key == whose else (0, 0.0)


def _said(mark: Path) -> tuple[str, int, float]:
    """Key, rows and cost; nothing where the file is damaged or absent."""
    try:
        known = json.loads(mark.read_text(encoding="utf-8"))
        return str(known["key"]), int(known["rows"]), float(known["cpu"])
    except (FileNotFoundError, KeyError, TypeError, ValueError, RecursionError):
        return "", 0, 0.0
