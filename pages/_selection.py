"""Which pairs a recipe selects and what an edit would do, asked of `core`, kept in memory.

What is shown here is what training will use: the same functions decide both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st
from pydantic import TypeAdapter

from core.errors import UserError
from core.intervention.edits import attribution_share, plan, summarize
from core.intervention.recipes import Edit, Recipe
from core.intervention.selection import select
from pages import _loaders

RECIPE: TypeAdapter[Recipe] = TypeAdapter(Recipe)


@dataclass(frozen=True)
class Trial:
    """What an edit would touch; `problem` says why it cannot be trained on."""

    summary: dict[str, Any]
    shares: dict[str, float]
    problem: str = ""


def uids(recipe: Recipe, reference: str | None = None) -> pd.Index:
    """Uids of the pairs that a recipe selects, in file order."""
    reference = reference or _loaders.project().pairs
    return _uids(str(_loaders.store().workspace), reference, RECIPE.dump_json(recipe).decode())


def pairs(reference: str, recipe: Recipe) -> pd.DataFrame:
    """The pairs that a recipe selects."""
    return _loaders.pairs(reference).loc[uids(recipe, reference)]


def dry_run(reference: str, edits: Sequence[Edit]) -> Trial:
    """The edit without its training: sizes, sources and shares of attribution."""
    everything = _loaders.pairs(reference)
    try:
        actions = plan(edits, everything, _loaders.store())
        shares = attribution_share(edits, actions, _loaders.store())
    except UserError as error:
        return Trial({}, {}, problem=str(error))
    return Trial(summarize(everything, actions), shares)


def sources(selected: pd.DataFrame, everything: pd.DataFrame) -> pd.DataFrame:
    """Selected pairs per source, next to the source's share of all pairs."""
    counts = selected["source"].value_counts()
    shares = everything["source"].value_counts(normalize=True)
    table = pd.DataFrame({"source": counts.index, "pairs": counts.to_numpy()})
    table["% of selection"] = 100 * table["pairs"] / len(selected)
    table["% of all pairs"] = 100 * table["source"].map(shares)
    return table.round(1)


def scores(selected: pd.Index) -> pd.DataFrame:
    """Mean similarities of the selected and of all pairs, per behavior that is ranked."""
    rows = []
    for run, behavior in _loaders.ranked_behaviors().items():
        if _loaders.store().state(run) != "finished":
            continue
        ranking = _loaders.table(run, "ranking")
        inside = ranking["uid"].isin(selected)
        for name in ("gated", "similarity"):
            rows.append(
                {
                    "behavior": behavior,
                    "score": name,
                    "mean of selection": ranking.loc[inside, name].mean(),
                    "mean of all pairs": ranking[name].mean(),
                }
            )
    return pd.DataFrame(rows).round(3)


@st.cache_resource(show_spinner=False, max_entries=128)
def _uids(workspace: str, reference: str, recipe: str) -> pd.Index:
    everything = _loaders.pairs(reference)
    chosen = select(RECIPE.validate_json(recipe), everything, _loaders.store())
    return everything.index[chosen]
