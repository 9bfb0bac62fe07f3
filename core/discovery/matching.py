"""Which cluster of a new map holds the pairs of a cluster of an earlier one.

After another clustering the numbers mean nothing any more; what people said of a cluster belongs
to its pairs. The best match is the cluster that shares most with it (Jaccard: shared / either).
A cluster whose pairs lie in no cluster any more has vanished. Knows nothing of names.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

GONE = 0.1  # Jaccard below which nothing here is the cluster that it was

COLUMNS = ["earlier", "pairs", "cluster", "shared", "jaccard"]


def best(earlier: Mapping[Any, NDArray[np.bool_]], now: NDArray[np.int64]) -> pd.DataFrame:
    """One row per earlier cluster, `COLUMNS`; `cluster` is −1 where it has vanished.

    `earlier` gives the pairs of each, (pair,), and `now` the cluster of every pair, −1 for none.
    """
    sizes = pd.Series(now[now >= 0]).value_counts()
    rows = []
    for name, members in earlier.items():
        shared = pd.Series(now[members & (now >= 0)]).value_counts()
        either = sizes.reindex(shared.index) + int(members.sum()) - shared
        jaccard = (shared / either).sort_values(ascending=False, kind="stable")
        found = len(jaccard) and jaccard.iloc[0] >= GONE
        cluster = int(jaccard.index[0]) if found else -1
        rows.append(
            {
                "earlier": name,
                "pairs": int(members.sum()),
                "cluster": cluster,
                "shared": int(shared[cluster]) if found else 0,
                "jaccard": float(jaccard.iloc[0]) if found else 0.0,
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS)
