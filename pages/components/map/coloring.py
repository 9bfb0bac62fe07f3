"""What the points of the map are colored by: clusters, kinds, numbers, or similarities.

A coloring gives every place a kind (few names) or a value; how it is drawn is `_map`'s affair.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.discovery import matrix
from core.specs.scores import IN_WORDS
from core.specs.steps import RankSpec
from core.workspace.labels import Labels
from pages.components import cache, selection
from pages.components.clusters import state

PUSH = "push on prompts"
FEW = 40  # values that a column may have to be shown as kinds


@dataclass(frozen=True)
class Coloring:
    """One kind per place, an index into `names`; or one value per place, NaN where undefined."""

    title: str
    kinds: NDArray[np.int64] | None = None
    names: tuple[str, ...] = ()
    values: NDArray[np.floating] | None = None


def options() -> list[str]:
    """What can be chosen, the most useful first."""
    columns = cache.pairs(cache.project().pairs)
    others = [name for name in columns.few_valued(FEW) if name != "source"]
    numbers = [name for name in columns.numeric() if name not in others]
    return ["cluster", "source", PUSH, *_rankings(), *others, *numbers]


def of(by: str, run: str, said: Labels, prompts: NDArray[np.bool_] | None) -> Coloring:
    """The coloring of a discover run's pairs; `prompts` are those that a push is counted on."""
    if by == "cluster":
        names = state.names(run)
        order = pd.Index([*names, -1])
        kinds = order.get_indexer(pd.Index(state.membership(run, said)))
        return Coloring(by, kinds, (*names.values(), state.NOISE))
    if by == PUSH:
        pushed = matrix.by_pairs(cache.store().output(run), prompts)
        return Coloring("mean push on the chosen prompts", values=pushed)
    if rank := _rankings().get(by):
        scores = cache.table(rank, "ranking").set_index("uid")[cache.ranking_score(rank)]
        return Coloring(by, values=scores.reindex(cache.map_points(run).index).to_numpy(float))
    return _of_column(by, run)


def _of_column(column: str, run: str) -> Coloring:
    pairs = cache.pairs(cache.project().pairs)
    rows = selection.map_rows(run)
    if column != "source" and column not in pairs.few_valued(FEW):
        values = pairs[column].to_numpy(float)
        return Coloring(column, values=np.where(rows >= 0, values[rows], np.nan))
    named = selection.categories(column)
    kinds = np.where(rows >= 0, named.codes[rows], -1).astype(np.int64)
    return Coloring(column, kinds, tuple(str(name) for name in named.categories))


def _rankings() -> dict[str, str]:
    """Finished rank runs by what they are called here; the newest of a behavior and method."""
    known = reversed(cache.specs(RankSpec).items())
    return {
        f"{IN_WORDS[spec.method]} to {spec.behavior.name}": run
        for run, spec in known
        if cache.store().state(run) == "finished"
    }
