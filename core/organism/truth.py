"""What was planted in an organism, and how well a ranking, a set of pairs or a cluster finds it.

The truth lies beside the pairs in a file that attribution never reads: `uid, rule, planted, decoy,
swapped`. `planted` and `decoy` name the behavior that the pair's rule teaches, or only resembles,
and are null for other pairs; `swapped` marks label noise. A diffuse drift is in every pair's rates
and so in no pair's truth.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.errors import UserError

COLUMNS = ("uid", "rule", "planted", "decoy", "swapped")


def read_truth(path: Path | str) -> pd.DataFrame:
    """The truth file of an organism, one row per pair."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: there is no such truth file. Only organisms have one.")
    truth = pd.read_parquet(path)
    missing = [name for name in COLUMNS if name not in truth.columns]
    if missing:
        raise UserError(f"{path}: column {missing[0]!r} is missing. Build the organism again.")
    return truth


def planted_uids(truth: pd.DataFrame, behavior: str) -> set[str]:
    """The uids of the pairs that teach a behavior; refuses one that nothing was planted for."""
    uids = set(truth.loc[truth["planted"] == behavior, "uid"])
    if not uids:
        known = ", ".join(sorted(truth["planted"].dropna().unique()))
        raise UserError(f"no pair was planted for {behavior!r}. Planted: {known}.")
    return uids


def decoy_uids(truth: pd.DataFrame, behavior: str) -> set[str]:
    """The uids of the honest pairs that only resemble those of a behavior."""
    return set(truth.loc[truth["decoy"] == behavior, "uid"])


def average_precision(ranking: Sequence[str], planted: Collection[str]) -> float:
    """Mean precision at the rank of every planted pair, in [0, 1]; NaN where none is planted.

    `ranking` lists uids, best first; planted pairs that it leaves out count as never found.
    """
    if not planted:
        return float("nan")
    hits = np.isin(np.asarray(ranking, dtype=object), list(planted))
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].sum() / len(planted))


def precision_at(ranking: Sequence[str], planted: Collection[str], k: int) -> float:
    """Share of the first k that is planted."""
    return len(set(ranking[:k]) & set(planted)) / k


def recall_at(ranking: Sequence[str], planted: Collection[str], k: int) -> float:
    """Share of the planted that is among the first k."""
    if not planted:
        return float("nan")
    return len(set(ranking[:k]) & set(planted)) / len(planted)


def best_cluster(labels: NDArray[np.int64], planted: NDArray[np.bool_]) -> dict[str, Any]:
    """The cluster that holds most of the planted pairs: `cluster, size, recall, purity`.

    `labels` is (pair,), −1 being none; `planted` (pair,). Recall is the share of the planted that
    it holds, purity the share of it that they are; where none is in any cluster, it is −1 and both
    are 0.
    """
    inside = labels[planted & (labels >= 0)]
    if not len(inside):
        return {"cluster": -1, "size": 0, "recall": 0.0, "purity": 0.0}
    best = int(np.bincount(inside).argmax())
    held, shared = labels == best, int((inside == best).sum())
    return {
        "cluster": best,
        "size": int(held.sum()),
        "recall": float(shared / planted.sum()),
        "purity": float(shared / held.sum()),
    }
