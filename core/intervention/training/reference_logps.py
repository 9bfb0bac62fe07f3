"""Cache of the reference's log-probabilities, computed once and shared by all arms.

A row is keyed by the tokens of prompt and completion, a file by the weights and the arithmetic that
gave its numbers. So a flip gets its swapped values without further work, an edited text or another
template never gets a stale one, and pairs that share a completion share its row. How the numbers
are computed is in core.intervention.training.dpo.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock

from core.errors import UserError
from core.storage.atomic import writing_atomic


class LogProbCache:
    """Parquet files `key, log_prob`, written atomically; log_prob in nats, summed over tokens.

    Every addition is another file, `<weights>-<arithmetic>.<number>.parquet`, so that a pass over
    378k pairs writes each value once. Earlier versions wrote one file without a number.
    """

    def __init__(self, folder: Path, *, model: str, arithmetic: str) -> None:
        """`model` is the fingerprint of the weights, `arithmetic` such as float32."""
        self.folder, self.name = folder, f"{model[:16]}-{arithmetic}"

    @property
    def files(self) -> list[Path]:
        """The files of this cache, oldest first."""
        numbered = sorted(self.folder.glob(f"{self.name}.*.parquet"), key=_number)
        return [*self.folder.glob(f"{self.name}.parquet"), *numbered]

    def read(self) -> dict[str, float]:
        """Every cached value; of two for one key, the newer."""
        values: dict[str, float] = {}
        for path in self.files:
            values |= _read(path)
        return values

    def add(self, values: Mapping[str, float]) -> None:
        """Add values atomically, whoever else is writing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        table = pd.DataFrame({"key": list(values), "log_prob": list(values.values())})
        with FileLock(self.folder / f"{self.name}.parquet.lock"):
            for half in self.folder.glob(f"{self.name}.*.part"):
                half.unlink()  # its writer held this lock until it was killed
            number = max(map(_number, self.files), default=0) + 1
            with writing_atomic(self.folder / f"{self.name}.{number:05}.parquet") as part:
                table.to_parquet(part, index=False)


def _number(path: Path) -> int:
    """Number of a file in its cache; 0 for one that an earlier version wrote."""
    number = path.stem.rpartition(".")[2]
    return int(number) if number.isdecimal() else 0


def _read(path: Path) -> dict[str, float]:
    try:
        table = pd.read_parquet(path)
        return dict(zip(table["key"], table["log_prob"].astype(float), strict=True))
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path}: cannot be read ({error}). Delete it: it is computed again."
        ) from error


def log_prob_key(prompt_ids: Sequence[int], completion_ids: Sequence[int]) -> str:
    """Thirty-two hex digits that name a prompt and a completion by their tokens."""
    ids = np.asarray([len(prompt_ids), *prompt_ids, *completion_ids], dtype=np.int64)
    return hashlib.blake2b(ids.tobytes(), digest_size=16).hexdigest()
