"""Predicted behavior rates after an edit, and their agreement with measured ones.

To first order, training on a pair moves the log-odds of a behavior by the pair's attribution g.
So of the way from reference to policy an edit takes back

    u = Σ dose(d) · g(d) / Σ max(g(d), 0)        dose: 1 removed, 2 flipped, 1 − w weighted by w

and the predicted rate is σ(logit before − u · (logit before − logit reference)). The denominator
sums positive parts, because the plain sum may cancel: 0.1 of 63 for elaboration in the default
world. g is the score that the behavior's ranking is ordered by or, where there is none, the mean
row of a map's matrix over the behavior's prompts. What other pairs make up for, and training seeds,
are not modelled; nor are rewritten texts, whose new scores are unknown. `by_source` does the same
for every source: dropping all its pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from core.discovery import matrix
from core.intervention.edits.checks import doses
from core.intervention.edits.select import scores
from core.runs.store import Store
from core.specs.behaviors import Behavior
from core.specs.project import Project
from core.specs.steps import RankSpec, TrainSpec
from core.storage.tables import table as read_table

COLUMNS = ["behavior", "wanted", "read from", "undone", "reference", "before", "predicted"]
RETRAINING = ["rate", "arm", "seed", "train", "edit"]
SOURCE_COLUMNS = ["source", "pairs", "edited", "attribution", "predicted if dropped"]
LEAST_RUNS = 8


@dataclass(frozen=True)
class Attribution:
    """The attribution of every pair to a behavior, by uid, and the run that computed it."""

    behavior: Behavior
    run: str
    values: pd.Series


class Agreement(NamedTuple):
    """Predicted against measured changes over retrainings."""

    n: int
    rank_correlation: float  # Spearman's
    slope: float  # of measured on predicted, through the origin; 1 is calibrated
    mean_error: float  # mean |measured − predicted|, in rate


def attributions(store: Store, project: Project) -> list[Attribution]:
    """One per behavior of the project that is ranked or on a map, in the project's order."""
    ranked = {
        store.spec(run, RankSpec).behavior.name: run for run in reversed(store.finished("rank"))
    }
    maps = store.finished("discover")
    computed = []
    for behavior in project.behaviors:
        run = ranked.get(behavior.name) or (maps[0] if maps else "")
        if run.startswith("rank-"):
            computed.append(Attribution(behavior, run, scores(run, store)))
        elif run and len(values := _from_map(store, run, behavior)):
            computed.append(Attribution(behavior, run, values))
    return computed


def undone(attribution: pd.Series, actions: pd.DataFrame) -> float:
    """u: the part of a behavior's attribution that an edit takes back; NaN without any."""
    total = float(attribution.clip(lower=0).sum())
    touched = attribution.reindex(actions["uid"]).fillna(0.0).to_numpy(dtype=float)
    return float(doses(actions) @ touched) / total if total else float("nan")


def predict(
    actions: pd.DataFrame, attributions: Sequence[Attribution], measured: pd.DataFrame
) -> pd.DataFrame:
    """`COLUMNS`, one row per attribution; `measured` as `results.outcomes` gives it.

    Rates are NaN where reference or policy are not measured. `before` is `rates_before`.
    """
    before, reference = rates_before(measured), _mean(measured, "reference")
    rows = []
    for attribution in attributions:
        behavior = attribution.behavior
        u = undone(attribution.values, actions)
        start, end = (rates.get(behavior.name, np.nan) for rates in (before, reference))
        predicted = predicted_rate(u, end, start)
        rows.append((behavior.name, behavior.wanted, attribution.run, u, end, start, predicted))
    return pd.DataFrame(rows, columns=COLUMNS)


def predicted_rate(u: float, reference: float, before: float) -> float:
    """The rate after a part `u` of the way from reference to policy is taken back."""
    start, end = _logit(before), _logit(reference)
    return float(1 / (1 + np.exp(-(start - u * (start - end)))))


def rates_before(measured: pd.DataFrame) -> dict[str, float]:
    """Rates of the unedited data: the mean of its retrainings where there are any, else policy."""
    return _mean(measured, "policy") | _mean(measured, "baseline")


def by_source(
    sources: pd.Series,
    attribution: pd.Series,
    actions: pd.DataFrame,
    *,
    reference: float,
    before: float,
) -> pd.DataFrame:
    """`SOURCE_COLUMNS`, the source with the largest share of attribution first.

    `sources` (the pairs' `source`, or the model that wrote a completion) and `attribution` by uid.
    `edited` counts pairs removed or flipped; `attribution` is the source's share of the positive
    attribution, its negative pairs subtracted.
    """
    edited = actions.loc[actions["action"] != "keep", "uid"]
    rows = []
    for source, members in sources.groupby(sources):
        dropped = pd.DataFrame({"uid": members.index, "action": "remove"})
        share = undone(attribution, dropped)
        n_edited = int(np.isin(members.index, edited).sum())
        rate = predicted_rate(share, reference, before)
        rows.append((source, len(members), n_edited, share, rate))
    table = pd.DataFrame(rows, columns=SOURCE_COLUMNS)
    return table.sort_values("attribution", ascending=False, ignore_index=True)


def against_measured(store: Store, project: Project, measured: pd.DataFrame) -> pd.DataFrame:
    """One row per behavior and retraining on an edit or control: predicted and measured change."""
    attributed = attributions(store, project)
    tables = [pd.DataFrame(columns=[*COLUMNS, *RETRAINING])]
    trained = measured[measured["arm"].isin(["edited", "random control"])]
    for training, rates in trained.groupby("train", sort=False):
        pairs = store.spec(str(training), TrainSpec).pairs
        actions = read_table(store.output(pairs) / "actions.parquet")
        predicted = predict(actions, attributed, measured)
        tables.append(predicted.merge(rates[["behavior", *RETRAINING]], on="behavior"))
    joined = pd.concat(tables[1:] or tables, ignore_index=True)
    joined["predicted change"] = joined["predicted"] - joined["before"]
    joined["measured change"] = joined["rate"] - joined["before"]
    return joined


def agreement(table: pd.DataFrame) -> Agreement:
    """Of the rows of `against_measured` with both changes; NaN where either does not vary."""
    both = table[["predicted change", "measured change"]].dropna()
    if both.nunique().min() < 2:
        return Agreement(len(both), np.nan, np.nan, np.nan)
    predicted, measured = both.to_numpy(dtype=float).T
    return Agreement(
        n=len(both),
        rank_correlation=float(np.corrcoef(both.rank().to_numpy(dtype=float).T)[0, 1]),
        slope=float(predicted @ measured / (predicted @ predicted)),
        mean_error=float(np.abs(measured - predicted).mean()),
    )


def _from_map(store: Store, run: str, behavior: Behavior) -> pd.Series:
    """Mean row of the matrix over the behavior's prompts; empty where the map has none of them."""
    output = store.output(run)
    prompts = read_table(output / "prompts.parquet", columns=["group", "condition"])
    rows = prompts["group"].eq(behavior.group) & prompts["condition"].eq(behavior.condition)
    if not rows.any():
        return pd.Series(dtype=float)
    uids = read_table(output / "pairs.parquet", columns=["uid"])["uid"]
    return pd.Series(matrix.mean_by_pair(output, rows.to_numpy(dtype=bool)), index=uids).dropna()


def _mean(measured: pd.DataFrame, arm: str) -> dict[str, float]:
    rates = measured[measured["arm"] == arm].groupby("behavior")["rate"].mean()
    return {str(name): float(rate) for name, rate in rates.items()}


def _logit(rate: float) -> float:
    """Log-odds, clipped to rates in [0.005, 0.995], since those of 0 and 1 are infinite."""
    clipped = np.clip(rate, 0.005, 0.995)
    return float(np.log(clipped / (1 - clipped)))
