"""How much of what was planted a clustering recovers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def best_cluster(labels: NDArray[np.int64], planted: NDArray[np.bool_]) -> dict[str, Any]:
    """The cluster that contains most of the planted pairs: `cluster, size, recall, purity`.

    `labels` is (pair,), −1 being noise; `planted` (pair,). Recall is the share of the planted pairs
    in the cluster, purity the share of the cluster that is planted. Where no planted pair is in a
    cluster, `cluster` is −1 and both are 0.
    """
    clusters = labels[planted & (labels >= 0)]
    if not len(clusters):
        return {"cluster": -1, "size": 0, "recall": 0.0, "purity": 0.0}
    best = int(np.bincount(clusters).argmax())
    size, shared = int((labels == best).sum()), int((clusters == best).sum())
    recall, purity = float(shared / planted.sum()), shared / size
    return {"cluster": best, "size": size, "recall": recall, "purity": purity}
