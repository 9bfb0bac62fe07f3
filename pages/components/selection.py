"""Which pairs a recipe selects and what an edit would do, asked of `core`, kept in memory.

Training uses the same functions, so what is shown here is what it will do. A selection is a mask
over all pairs in file order, 378 kB at 378k pairs; texts are read for the rows that are shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from core.errors import UserError
from core.intervention.edits.apply import planned
from core.intervention.edits.checks import attribution_share, summarize
from core.intervention.edits.select import select
from core.specs.behaviors import SCORE_NAMES
from core.specs.recipes import AllOf, Edit, Recipe
from core.specs.steps import RankSpec
from pages.components import cache

Mask = NDArray[np.bool_]
OFFERED = 1_000  # values of a column to choose among: a browser gets them with every answer


@dataclass(frozen=True)
class Trial:
    """What an edit would touch; `problem` says why it cannot be trained on."""

    summary: dict[str, Any]
    shares: dict[str, float]
    problem: str = ""


class Pairs(NamedTuple):
    """What results are kept for: pairs (a path or an edit run) as their file is now."""

    reference: str
    version: str
    workspace: str


def mask(recipe: Recipe, reference: str | None = None) -> Mask:
    """(pair,) which of the pairs, in file order, a recipe selects. Shared: read-only."""
    return _mask(_pairs(reference), recipe.model_dump_json(), recipe)


def on_map(run: str, recipe: Recipe) -> Mask:
    """(pair on the map,) which of a discover run's pairs, in its order, a recipe selects."""
    chosen, rows = mask(recipe), map_rows(run)
    return chosen[rows] & (rows >= 0)


def map_rows(run: str) -> NDArray[np.intp]:
    """(pair on the map,) the position of each in the project's pairs; −1 if it is gone."""
    return _rows(_pairs(), run, "pairs")


def dry_run(reference: str, edits: Sequence[Edit]) -> Trial:
    """The edit without its training: sizes, sources and shares of attribution."""
    try:
        return _trial(_pairs(reference), _json(edits), edits)
    except UserError as error:
        return Trial({}, {}, problem=str(error))


def actions(reference: str, edits: Sequence[Edit]) -> pd.DataFrame:
    """What is done to which pair; `UserError` where the edit cannot be."""
    return _actions(_pairs(reference), _json(edits), edits)


def by_pair(run: str, column: str, reference: str) -> NDArray[np.float64]:
    """(pair,) a column of a ranking, in the order of the pairs; NaN where a pair is not ranked."""
    rows = _rows(_pairs(reference), run, "ranking")
    values = np.full(len(cache.pairs(reference)), np.nan)
    values[rows[rows >= 0]] = cache.table(run, "ranking")[column].to_numpy(float)[rows >= 0]
    return values


def ranking(run: str, score: str, reference: str) -> pd.DataFrame:
    """A ranking by one of its scores, best first, with `rank`, `score` and `position` added.

    The last is the pair's position in the file, −1 if it is gone. Shared: read-only.
    """
    return _ranking(_pairs(reference), run, score)


def sources(chosen: Mask) -> pd.DataFrame:
    """Selected pairs per source, next to the source's share of all pairs."""
    every = categories("source")
    counts = every[chosen].value_counts()
    counts = counts[counts > 0].sort_values(ascending=False)
    shares = every.value_counts().reindex(counts.index) / len(every)
    table = pd.DataFrame({"source": counts.index.astype(str), "pairs": counts.to_numpy()})
    table["% of selection"] = 100 * table["pairs"] / max(int(chosen.sum()), 1)
    table["% of all pairs"] = 100 * shares.to_numpy()
    return table.round(1)


def categories(column: str, reference: str | None = None) -> pd.Categorical:
    """(pair,) a column's values, the most frequent first; missing values are `unknown`."""
    return _categories(_pairs(reference), column)


def options(column: str) -> list[str]:
    """The values of a column to choose among: the most frequent ones, sorted by name."""
    return sorted(categories(column).categories[:OFFERED])


def scores(chosen: Mask) -> pd.DataFrame:
    """Mean score and similarity of the selected and of all pairs, per behavior that is ranked."""
    rows = []
    for run, spec in cache.specs(RankSpec).items():
        if cache.store().state(run) != "finished":
            continue
        table, positions = cache.table(run, "ranking"), _rows(_pairs(), run, "ranking")
        inside = slice(None) if chosen.all() else chosen[positions] & (positions >= 0)
        for name in dict.fromkeys((spec.method, "similarity")):
            rows.append(
                {
                    "behavior": spec.behavior.name,
                    "score": SCORE_NAMES[name],
                    "mean of selection": table[name][inside].mean(),
                    "mean of all pairs": table[name].mean(),
                }
            )
    return pd.DataFrame(rows).round(3)


def _pairs(reference: str | None = None) -> Pairs:
    """Pairs as they are now; without a reference, the project's."""
    reference = reference or cache.project().pairs
    return Pairs(reference, cache.pairs_version(reference), str(cache.store().workspace))


def _json(edits: Sequence[Edit]) -> str:
    return ",".join(edit.model_dump_json() for edit in edits)


# Streamlit keeps results by the arguments whose names have no leading underscore.
@st.cache_resource(show_spinner=False, max_entries=128)
def _mask(pairs: Pairs, recipe: str, _recipe: Recipe) -> Mask:
    """Parts of a conjunction are kept too: narrowing a selection computes only the new part."""
    if isinstance(_recipe, AllOf):
        return np.logical_and.reduce([mask(part, pairs.reference) for part in _recipe.parts])
    return select(_recipe, cache.pairs(pairs.reference), cache.store())


@st.cache_resource(show_spinner=False, max_entries=32)
def _actions(pairs: Pairs, edits: str, _edits: Sequence[Edit]) -> pd.DataFrame:
    masks = [mask(edit.recipe, pairs.reference) for edit in _edits]
    return planned(_edits, masks, cache.pairs(pairs.reference), cache.store())


@st.cache_resource(show_spinner=False, max_entries=32)
def _trial(pairs: Pairs, edits: str, _edits: Sequence[Edit]) -> Trial:
    plan = _actions(pairs, edits, _edits)
    shares = attribution_share(_edits, plan, cache.store())
    return Trial(summarize(cache.pairs(pairs.reference), plan), shares)


@st.cache_resource(show_spinner=False, max_entries=16)
def _rows(pairs: Pairs, run: str, name: str) -> NDArray[np.intp]:
    table = cache.map_points(run) if name == "pairs" else cache.table(run, name)
    return cache.pairs(pairs.reference).positions(table["uid"])


@st.cache_resource(show_spinner=False, max_entries=4)
def _ranking(pairs: Pairs, run: str, score: str) -> pd.DataFrame:
    table = cache.table(run, "ranking").assign(position=_rows(pairs, run, "ranking"))
    table = table.sort_values(score, ascending=False, na_position="last", kind="stable")
    return table.assign(rank=range(1, len(table) + 1), score=table[score]).reset_index(drop=True)


@st.cache_resource(show_spinner=False, max_entries=32)
def _categories(pairs: Pairs, column: str) -> pd.Categorical:
    values = cache.pairs(pairs.reference)[column]
    codes, names = pd.factorize(values.astype("str").where(values.notna(), "unknown"))
    order = np.argsort(-np.bincount(codes, minlength=len(names)), kind="stable")
    return pd.Categorical.from_codes(np.argsort(order)[codes], categories=list(names[order]))
