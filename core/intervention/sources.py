"""Source by source: what an edit took from each, and what dropping the whole source should do.

A source is what the pairs call `source`, or the model that wrote a completion. Predictions are
those of `core.intervention.predictions`. Knows nothing of what was trained.
"""

import numpy as np
import pandas as pd

from core.intervention.predictions import predicted_rate, undone

COLUMNS = ["source", "pairs", "edited", "attribution", "predicted if dropped"]


def by_source(
    sources: pd.Series,
    attribution: pd.Series,
    actions: pd.DataFrame,
    *,
    reference: float,
    before: float,
) -> pd.DataFrame:
    """`COLUMNS`, the source with the largest share of attribution first.

    `sources` by uid. `edited` counts pairs removed or flipped; `attribution` is the source's share
    of the positive attribution, negative pairs taken off.
    """
    edited = actions.loc[actions["action"] != "keep", "uid"]
    rows = []
    for source, own in sources.groupby(sources):
        dropped = pd.DataFrame({"uid": own.index, "action": "remove"})
        share = undone(attribution, dropped)
        n_edited = int(np.isin(own.index, edited).sum())
        rows.append((source, len(own), n_edited, share, predicted_rate(share, reference, before)))
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.sort_values("attribution", ascending=False, ignore_index=True)
