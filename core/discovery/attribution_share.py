"""Which part of a behavior's attribution a cluster makes up, for every behavior that was seen.

A behavior is a flag of the judge on one group of prompts under one condition; its vector is made as
a ranking makes it, from the prompts that show it, at the discover run's layer. Behaviors that no
prompt shows have no attribution and no row. Each pair's share is kept, so that clusters cut or made
by hand later have their parts too.
"""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.attribution.index.layout import VectorIndex
from core.attribution.similarity import Query, scan
from core.attribution.vectors import Activations, behavior_vectors, passing_prompts, query_at
from core.errors import UserError
from core.specs.behaviors import DEFAULT_SCORE, Behavior
from core.storage.tables import array, data_frame

CELL = ["flag", "group", "condition", "n_prompts"]
COLUMNS = ["cluster", *CELL, "share_of_attribution"]
ATTRIBUTION = "attribution.npy"  # of a discover run: (behavior, pair), rows as in its table
AT_ONCE = 8  # behaviors scored in one pass over the index: their scores lie in memory

Labels = NDArray[np.int64]


class Attribution(NamedTuple):
    """Of every behavior that was seen, `CELL`, the share of each pair; rows sum to 1."""

    behaviors: pd.DataFrame
    shares: NDArray[np.float32]  # (behavior, pair)

    def of_clusters(self, labels: Labels) -> pd.DataFrame:
        """`COLUMNS`, one row per behavior and cluster, −1 included; `labels` is (pair,)."""
        clusters, place = np.unique(labels, return_inverse=True)
        tables = [pd.DataFrame(columns=COLUMNS)]
        for cell, shares in zip(self.behaviors.to_dict("records"), self.shares, strict=True):
            part = np.bincount(place, shares, len(clusters))
            told = {"cluster": clusters, "share_of_attribution": part, **cell}
            tables.append(pd.DataFrame(told, columns=COLUMNS))
        return pd.concat(tables[1:] or tables, ignore_index=True)


def attribution(
    uids: pd.Series, index: VectorIndex, activations: Activations, layer: int
) -> Attribution:
    """Shares of the pairs `uids` in the positive attribution of every behavior that was seen."""
    cells, found = [], [np.empty((0, len(uids)), np.float32)]
    seen = list(_seen(activations, layer))
    for start in range(0, len(seen), AT_ONCE):
        some = seen[start : start + AT_ONCE]
        tables = scan(index, layer, [query for _, query in some], bank=False)
        for (behavior, query), scores in zip(some, tables, strict=True):
            if scores[DEFAULT_SCORE].gt(0).any():
                cell = {name: getattr(behavior, name) for name in CELL[:-1]}
                cells.append(cell | {"n_prompts": len(query.behavior)})
                found.append(positive_shares(uids, scores)[None])
    return Attribution(pd.DataFrame(cells, columns=CELL), np.concatenate(found))


def positive_shares(uids: pd.Series, ranking: pd.DataFrame) -> NDArray[np.float32]:
    """(pair,) the part of all positive attribution that each pair makes up; undefined is none."""
    positive = ranking.set_index("uid")[DEFAULT_SCORE].clip(lower=0).fillna(0)
    shares = positive.reindex(uids, fill_value=0).to_numpy() / positive.sum()
    return shares.astype(np.float32)


def kept(output: Path) -> Attribution | None:
    """What a discover run keeps; None where an earlier version drew the map."""
    if not (output / ATTRIBUTION).is_file():
        return None
    behaviors = data_frame(output / "contributions.parquet")[CELL].drop_duplicates()
    return Attribution(behaviors, array(output / ATTRIBUTION))


def _seen(activations: Activations, layer: int) -> Iterator[tuple[Behavior, Query]]:
    """Every flag × group × condition that the policy shows more than the reference."""
    rows = activations.completions
    cells = rows[["group", "condition"]].drop_duplicates().itertuples(index=False)
    flags = [str(name) for name in rows.select_dtypes("boolean")]
    for (group, condition), flag in product(cells, flags):
        behavior = Behavior(
            name=f"{flag} · {group} · {condition}",
            flag=flag,
            group=group,
            condition=condition,
            wanted=False,
        )
        try:
            passing = passing_prompts(rows, behavior).prompt_ids
        except UserError:  # no prompt shows it
            continue
        query = query_at(behavior_vectors(activations, behavior, passing), layer)
        if query.pooled.any():
            yield behavior, query
