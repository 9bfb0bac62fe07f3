"""Which part of a behavior's attribution a cluster makes up, for every behavior that was seen.

A behavior is a flag of the judge on one group of prompts under one condition; its vector is made as
a ranking makes it, from the prompts that show it, at the discover run's layer. Behaviors that no
prompt shows have no attribution and no row.
"""

from collections.abc import Iterator
from itertools import product

import pandas as pd

from core.attribution.index import VectorIndex
from core.attribution.scores import DEFAULT
from core.attribution.similarity import Query, scan
from core.attribution.vectors import Readings, passing_prompts, query_at, showing
from core.data.behaviors import Behavior
from core.errors import UserError

COLUMNS = ["cluster", "flag", "group", "condition", "n_prompts", "share_of_attribution"]
AT_ONCE = 8  # behaviors scored in one pass over the index: their scores lie in memory


def contributions(labels: pd.Series, ranking: pd.DataFrame) -> pd.Series:
    """Share of a behavior's total positive attribution that each cluster makes up, by cluster.

    `labels` is the cluster of each pair by uid, −1 being none, `ranking` a table of scores by uid.
    """
    positive = ranking.set_index("uid")[DEFAULT].clip(lower=0)
    shares = positive.groupby(labels.reindex(positive.index)).sum() / positive.sum()
    return shares.rename("share_of_attribution").rename_axis("cluster")


def contributions_to_all(
    labels: pd.Series, index: VectorIndex, readings: Readings, layer: int
) -> pd.DataFrame:
    """`COLUMNS`, one row per behavior that was seen and cluster, −1 included; shares sum to 1."""
    found = [pd.DataFrame(columns=COLUMNS)]
    seen = list(_seen(readings, layer))
    for start in range(0, len(seen), AT_ONCE):
        some = seen[start : start + AT_ONCE]
        tables = scan(index, layer, [query for _, query in some], bank=False)
        for (behavior, query), scores in zip(some, tables, strict=True):
            if scores[DEFAULT].gt(0).any():
                shares = contributions(labels, scores).reset_index()
                cell = {name: getattr(behavior, name) for name in ("flag", "group", "condition")}
                found.append(shares.assign(**cell, n_prompts=len(query.behavior))[COLUMNS])
    return pd.concat(found[1:] or found, ignore_index=True)


def _seen(readings: Readings, layer: int) -> Iterator[tuple[Behavior, Query]]:
    """Every flag × group × condition that the policy shows more than the reference."""
    rows = readings.completions
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
        query = query_at(showing(readings, behavior, passing), layer)
        if query.pooled.any():
            yield behavior, query
