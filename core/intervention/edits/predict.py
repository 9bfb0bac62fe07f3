"""What an edit should do to every behavior before anything is trained, and what it then did.

To first order, training on a pair moves the log-odds of a behavior by the pair's attribution g.
So of the way from reference to policy an edit takes back

    u = Σ dose(d) · g(d) / Σ max(g(d), 0)        dose: 1 for a removal, 2 for a flip

and the predicted rate is σ(logit before − u · (logit before − logit reference)). The positive part
is the whole, because the plain sum may cancel: 0.1 of 63 for elaboration in the default world. g is
the score that the behavior's ranking is ordered by or, where there is none, the mean row of a map's
matrix over the behavior's prompts. Knows nothing of what other pairs make up for, nor of seeds.

Source by source: what an edit took from each, and what dropping the whole source should do.

A source is what the pairs call `source`, or the model that wrote a completion. Predictions are
those of `core.intervention.edits.predict`. Knows nothing of what was trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from core.discovery import matrix
from core.intervention.edits.apply import DOSE
from core.intervention.edits.select import scores
from core.runs.store import Store
from core.specs.behaviors import Behavior
from core.specs.project import Project
from core.specs.steps import RankSpec, TrainSpec
from core.storage.tables import table as read_table

COLUMNS = ["behavior", "wanted", "read from", "undone", "reference", "before", "predicted"]
LEAST_RUNS = 8


@dataclass(frozen=True)
class Attribution:
    """How far each pair pushes towards a behavior, by uid, and the run that says so."""

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
    """One per behavior of the project that anything is known of, in the project's order."""
    ranked: dict[str, str] = {}
    for run in reversed(store.finished("rank")):
        ranked[store.spec(run, RankSpec).behavior.name] = run
    maps = store.finished("discover")
    found = []
    for behavior in project.behaviors:
        run = ranked.get(behavior.name) or (maps[0] if maps else "")
        if run.startswith("rank-"):
            found.append(Attribution(behavior, run, scores(run, store)))
        elif run and len(values := _from_map(store, run, behavior)):
            found.append(Attribution(behavior, run, values))
    return found


def undone(attribution: pd.Series, actions: pd.DataFrame) -> float:
    """u: the part of a behavior's attribution that an edit takes back; NaN without any."""
    whole = float(attribution.clip(lower=0).sum())
    dose = actions["action"].map(DOSE).to_numpy(dtype=float)
    touched = attribution.reindex(actions["uid"]).fillna(0.0).to_numpy(dtype=float)
    return float(dose @ touched) / whole if whole else float("nan")


def predict(
    actions: pd.DataFrame, known: Sequence[Attribution], measured: pd.DataFrame
) -> pd.DataFrame:
    """`COLUMNS`, one row per attribution; `measured` as `outcomes` gives it.

    Rates are NaN where reference or policy are not measured. `before` is `rates_before`.
    """
    before = rates_before(measured)
    reference = _mean(measured, "reference")
    rows = []
    for one in known:
        name = one.behavior.name
        u = undone(one.values, actions)
        start, end = before.get(name, np.nan), reference.get(name, np.nan)
        rows.append(
            (name, one.behavior.wanted, one.run, u, end, start, predicted_rate(u, end, start))
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def predicted_rate(u: float, reference: float, before: float) -> float:
    """The rate after a part `u` of the way from reference to policy is taken back."""
    start, end = _logit(before), _logit(reference)
    return float(1 / (1 + np.exp(-(start - u * (start - end)))))


def rates_before(measured: pd.DataFrame) -> dict[str, float]:
    """Rates of the unedited data: the mean of its retrainings where there are any, else policy."""
    return _mean(measured, "policy") | _mean(measured, "baseline")


def against_measured(store: Store, project: Project, measured: pd.DataFrame) -> pd.DataFrame:
    """One row per retraining on an edit or control and behavior: predicted and measured change."""
    known = attributions(store, project)
    tables = []
    trained = measured[measured["arm"].isin(["edited", "random control"])]
    for training, own in trained.groupby("train", sort=False):
        spec = store.spec(str(training), TrainSpec)
        actions = read_table(store.output(spec.pairs) / "actions.parquet")
        table = predict(actions, known, measured)
        rates = own[["behavior", "rate", "arm", "seed", "train", "edit"]]
        tables.append(table.merge(rates, on="behavior"))
    if not tables:
        return pd.DataFrame(columns=[*COLUMNS, "rate", "arm", "seed", "train", "edit"])
    whole = pd.concat(tables, ignore_index=True)
    whole["predicted change"] = whole["predicted"] - whole["before"]
    whole["measured change"] = whole["rate"] - whole["before"]
    return whole


def agreement(table: pd.DataFrame) -> Agreement:
    """Of the rows of `against_measured`, those with both changes; NaN where nothing varies."""
    both = table[["predicted change", "measured change"]].dropna()
    if both.nunique().min() < 2:
        return Agreement(len(both), np.nan, np.nan, np.nan)
    predicted, found = both.to_numpy(dtype=float).T
    ranks = both.rank().to_numpy(dtype=float).T
    return Agreement(
        n=len(both),
        rank_correlation=float(np.corrcoef(ranks)[0, 1]),
        slope=float(predicted @ found / (predicted @ predicted)),
        mean_error=float(np.abs(found - predicted).mean()),
    )


def _from_map(store: Store, run: str, behavior: Behavior) -> pd.Series:
    """Mean row of the matrix over the behavior's prompts; empty where the map has none of them."""
    output = store.output(run)
    prompts = read_table(output / "prompts.parquet", columns=["group", "condition"])
    own = prompts["group"].eq(behavior.group) & prompts["condition"].eq(behavior.condition)
    if not own.any():
        return pd.Series(dtype=float)
    uids = read_table(output / "pairs.parquet", columns=["uid"])["uid"]
    return pd.Series(matrix.mean_by_pair(output, own.to_numpy(dtype=bool)), index=uids).dropna()


def _mean(measured: pd.DataFrame, arm: str) -> dict[str, float]:
    rows = measured[measured["arm"] == arm]
    return {
        str(name): float(rate) for name, rate in rows.groupby("behavior")["rate"].mean().items()
    }


def _logit(rate: float) -> float:
    """Log-odds, held away from the infinities that a rate of exactly 0 or 1 would give."""
    held = min(max(rate, 0.005), 0.995) if not np.isnan(rate) else rate
    return float(np.log(held / (1 - held)))


SOURCE_COLUMNS = ["source", "pairs", "edited", "attribution", "predicted if dropped"]


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
    table = pd.DataFrame(rows, columns=SOURCE_COLUMNS)
    return table.sort_values("attribution", ascending=False, ignore_index=True)
