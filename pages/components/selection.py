"""Which pairs a recipe selects and what an edit would do, asked of `core`, kept in memory.

What is shown here is what training will use: the same functions decide both. A selection is a
mask over all pairs in file order, 378 kB at 378k pairs; texts are read for the rows that are shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray
from pydantic import TypeAdapter

from core.errors import UserError
from core.intervention.edits.apply import attribution_share, planned, summarize
from core.intervention.edits.select import select
from core.specs.behaviors import SCORE_NAMES
from core.specs.recipes import AllOf, Edit, Recipe
from core.specs.steps import RankSpec
from pages.components import cache

RECIPE: TypeAdapter[Recipe] = TypeAdapter(Recipe)
EDITS: TypeAdapter[tuple[Edit, ...]] = TypeAdapter(tuple[Edit, ...])
Mask = NDArray[np.bool_]
OFFERED = 1_000  # kinds of a column to choose among: a browser gets them with every answer


@dataclass(frozen=True)
class Trial:
    """What an edit would touch; `problem` says why it cannot be trained on."""

    summary: dict[str, Any]
    shares: dict[str, float]
    problem: str = ""


def mask(recipe: Recipe, reference: str | None = None) -> Mask:
    """(pair,) which of the pairs, in file order, a recipe selects. Shared: read-only."""
    reference = reference or cache.project().pairs
    return _mask(_at(reference), reference, RECIPE.dump_json(recipe).decode())


def on_map(run: str, recipe: Recipe) -> Mask:
    """(place,) which of a discover run's pairs, in its order, a recipe selects."""
    chosen, rows = mask(recipe), map_rows(run)
    return chosen[rows] & (rows >= 0)


def map_rows(run: str) -> NDArray[np.intp]:
    """(place,) the position among the project's pairs of each pair on a map; −1 if it is gone."""
    return _rows(_at(cache.project().pairs), cache.project().pairs, run, "pairs")


def dry_run(reference: str, edits: Sequence[Edit]) -> Trial:
    """The edit without its training: sizes, sources and shares of attribution."""
    try:
        return _trial(_at(reference), reference, _said(edits))
    except UserError as error:
        return Trial({}, {}, problem=str(error))


def actions(reference: str, edits: Sequence[Edit]) -> pd.DataFrame:
    """What is done to which pair; `UserError` where the edit cannot be."""
    return _actions(_at(reference), reference, _said(edits))


def by_pair(run: str, column: str, reference: str) -> NDArray[np.float64]:
    """(pair,) a column of a ranking, in the order of the pairs; NaN where a pair is not ranked."""
    place = _rows(_at(reference), reference, run, "ranking")
    values = np.full(len(cache.pairs(reference)), np.nan)
    values[place[place >= 0]] = cache.table(run, "ranking")[column].to_numpy(float)[place >= 0]
    return values


def ranking(run: str, score: str, reference: str) -> pd.DataFrame:
    """A ranking by one of its scores, best first: also `rank`, `score`, and `position`.

    The last is the pair's place in the file, −1 if it is gone. Shared: read-only.
    """
    return _ordered(_at(reference), reference, run, score)


def sources(chosen: Mask) -> pd.DataFrame:
    """Selected pairs per source, next to the source's share of all pairs."""
    named = categories("source")
    counts = named[chosen].value_counts()
    shares = named.value_counts() / len(named)
    counts = counts[counts > 0].sort_values(ascending=False)
    table = pd.DataFrame({"source": counts.index.astype(str), "pairs": counts.to_numpy()})
    table["% of selection"] = 100 * table["pairs"] / max(int(chosen.sum()), 1)
    table["% of all pairs"] = 100 * shares.reindex(counts.index).to_numpy()
    return table.round(1)


def categories(column: str, reference: str | None = None) -> pd.Categorical:
    """(pair,) a column as kinds, the most frequent first; what is missing is `unknown`."""
    reference = reference or cache.project().pairs
    return _kinds(_at(reference), reference, column)


def options(column: str) -> list[str]:
    """The kinds of a column to choose among: the most frequent ones, sorted by name."""
    return sorted(categories(column).categories[:OFFERED])


def scores(chosen: Mask) -> pd.DataFrame:
    """Mean score and similarity of the selected and of all pairs, per behavior that is ranked."""
    rows = []
    for run, spec in cache.specs(RankSpec).items():
        if cache.store().state(run) != "finished":
            continue
        ranking = cache.table(run, "ranking")
        inside = slice(None) if chosen.all() else _chosen_of(chosen, run)
        for name in dict.fromkeys((spec.method, "similarity")):
            rows.append(
                {
                    "behavior": spec.behavior.name,
                    "score": SCORE_NAMES[name],
                    "mean of selection": ranking[name].to_numpy()[inside],
                    "mean of all pairs": ranking[name].to_numpy(),
                }
            )
    table = pd.DataFrame(rows)
    for name in ("mean of selection", "mean of all pairs"):
        if len(table):
            table[name] = [pd.Series(values, dtype=float).mean() for values in table[name]]
    return table.round(3)


def _at(reference: str) -> str:
    """What is kept is kept for: the workspace, and the pairs' file as it is now."""
    return f"{cache.store().workspace} {cache.pairs_version(reference)}"


def _chosen_of(chosen: Mask, run: str) -> Mask:
    """(ranked pair,) whether each row of a ranking is among the chosen pairs."""
    place = _rows(_at(cache.project().pairs), cache.project().pairs, run, "ranking")
    return chosen[place] & (place >= 0)


@st.cache_resource(show_spinner=False, max_entries=128)
def _mask(state: str, reference: str, recipe: str) -> Mask:
    """Parts of a conjunction are kept too: of what is narrowed step by step, only what is new."""
    wanted = RECIPE.validate_json(recipe)
    if isinstance(wanted, AllOf):
        return np.logical_and.reduce([mask(part, reference) for part in wanted.parts])
    return select(wanted, cache.pairs(reference), cache.store())


@st.cache_resource(show_spinner=False, max_entries=32)
def _actions(state: str, reference: str, edits: str) -> pd.DataFrame:
    wanted = EDITS.validate_json(edits)
    masks = [mask(edit.recipe, reference) for edit in wanted]
    return planned(wanted, masks, cache.pairs(reference))


@st.cache_resource(show_spinner=False, max_entries=32)
def _trial(state: str, reference: str, edits: str) -> Trial:
    wanted, found = EDITS.validate_json(edits), _actions(state, reference, edits)
    shares = attribution_share(wanted, found, cache.store())
    return Trial(summarize(cache.pairs(reference), found), shares)


def _said(edits: Sequence[Edit]) -> str:
    return EDITS.dump_json(tuple(edits)).decode()


@st.cache_resource(show_spinner=False, max_entries=16)
def _rows(state: str, reference: str, run: str, table: str) -> NDArray[np.intp]:
    placed = cache.map_points(run) if table == "pairs" else cache.table(run, table)
    return cache.pairs(reference).positions(placed["uid"])


@st.cache_resource(show_spinner=False, max_entries=4)
def _ordered(state: str, reference: str, run: str, score: str) -> pd.DataFrame:
    ranking = cache.table(run, "ranking")
    found = ranking.assign(position=_rows(state, reference, run, "ranking"))
    found = found.sort_values(score, ascending=False, na_position="last", kind="stable")
    return found.assign(rank=range(1, len(found) + 1), score=found[score]).reset_index(drop=True)


@st.cache_resource(show_spinner=False, max_entries=32)
def _kinds(state: str, reference: str, column: str) -> pd.Categorical:
    values = cache.pairs(reference)[column]
    texts = values.astype("str").where(values.notna(), "unknown")
    return pd.Categorical(texts, categories=list(texts.value_counts().index))
