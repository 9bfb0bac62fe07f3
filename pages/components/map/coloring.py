"""What the points of the map are colored by: clusters, categories, numbers, or similarities.

A coloring gives every pair a category (of few) or a value; `figure` and `heatmap` draw it.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.discovery import matrix
from core.specs.behaviors import SCORE_NAMES
from core.specs.steps import RankSpec
from core.workspace.labels import Labels
from pages.components import cache, selection, theme
from pages.components.clusters import state

TO_PROMPTS = "similarity to prompts"
FEW = 40  # values that a column may have to be shown as categories
PALETTE = (*theme.CATEGORIES, theme.NOISE)


@dataclass(frozen=True)
class Coloring:
    """One category per pair, an index into `names`; or one value per pair, NaN where undefined."""

    title: str
    codes: NDArray[np.int64] | None = None
    names: tuple[str, ...] = ()
    values: NDArray[np.floating] | None = None

    def palette_codes(self) -> NDArray[np.int64]:
        """(pair,) indices into `PALETTE`: colors repeat after eight; the last one is no cluster."""
        assert self.codes is not None
        noise = self.names.index(state.NOISE) if state.NOISE in self.names else -1
        grey = (self.codes < 0) | (self.codes == noise)
        return np.where(grey, len(theme.CATEGORIES), self.codes % len(theme.CATEGORIES))


def options() -> list[str]:
    """What can be chosen, the most useful first."""
    columns = cache.pairs(cache.project().pairs)
    categories = [name for name in columns.few_valued(FEW) if name != "source"]
    numbers = [name for name in columns.numeric() if name not in categories]
    return ["cluster", "source", TO_PROMPTS, *_rankings(), *categories, *numbers]


def of(by: str, run: str, labels: Labels, prompts: NDArray[np.bool_] | None) -> Coloring:
    """The coloring of a discover run's pairs; `prompts` is the mask that similarity is meant to."""
    if by == "cluster":
        names = state.names(run)
        order = pd.Index([*names, -1])
        codes = order.get_indexer(pd.Index(state.membership(run, labels)))
        return Coloring(by, codes, (*names.values(), state.NOISE))
    if by == TO_PROMPTS:
        means = matrix.mean_by_pair(cache.store().output(run), prompts)
        return Coloring("mean similarity to the chosen prompts", values=means)
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
    categories = selection.categories(column)
    codes = np.where(rows >= 0, categories.codes[rows], -1).astype(np.int64)
    return Coloring(column, codes, tuple(str(name) for name in categories.categories))


def _rankings() -> dict[str, str]:
    """Finished rank runs by score and behavior; the newest of each."""
    return {
        f"{SCORE_NAMES[spec.method]} to {spec.behavior.name}": run
        for run, spec in reversed(cache.specs(RankSpec).items())
        if cache.store().state(run) == "finished"
    }
