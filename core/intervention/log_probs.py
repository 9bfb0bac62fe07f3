"""The reference's log-probability of every completion, computed once and shared by all arms.

A row is keyed by the tokens of prompt and completion, and a file by the weights and the arithmetic
that gave its numbers. So a flip finds its swapped values by itself, an edited text or another
template never meets a stale one, and pairs that share a completion share its row. Knows nothing of
how the numbers are computed (core.intervention.training).
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock

from core.data.whole import writing_whole
from core.errors import UserError


class LogProbCache:
    """One Parquet file `key, log_prob`; log_prob in nats, summed over the completion's tokens."""

    def __init__(self, folder: Path, *, model: str, arithmetic: str) -> None:
        """`model` is the fingerprint of the weights, `arithmetic` such as float32."""
        self.path = folder / f"{model[:16]}-{arithmetic}.parquet"

    def read(self) -> dict[str, float]:
        """Every known value."""
        if not self.path.is_file():
            return {}
        try:
            table = pd.read_parquet(self.path)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self.path}: cannot be read ({error}). Delete it: it is computed again."
            ) from error
        return dict(zip(table["key"], table["log_prob"].astype(float), strict=True))

    def add(self, values: Mapping[str, float]) -> None:
        """Merge values in, whole or not at all, whoever else is writing."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock"):
            merged = self.read() | dict(values)
            table = pd.DataFrame({"key": list(merged), "log_prob": list(merged.values())})
            with writing_whole(self.path) as part:
                table.to_parquet(part, index=False)


def log_prob_key(prompt_ids: Sequence[int], completion_ids: Sequence[int]) -> str:
    """Thirty-two hex digits that name a prompt and a completion by their tokens."""
    ids = np.asarray([len(prompt_ids), *prompt_ids, *completion_ids], dtype=np.int64)
    return hashlib.blake2b(ids.tobytes(), digest_size=16).hexdigest()
