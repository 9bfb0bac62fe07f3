"""Effect of edits: every arm of the default world, retrained and measured.

Runs in the workspace (`pairtrace -w FOLDER bench intervention`): finished runs are reused, and the
app shows them. Arms: the unedited pairs; the top k removed and flipped at several sizes, each with
a random control; and the source with the most attribution removed. The suggested k comes first.
Rates are means over training seeds with a Student interval; changes are from the retrained
baseline. The truth is not read.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from core import environment
from core.demo import investigation
from core.intervention.arms import Arm, baseline, edited_and_control
from core.intervention.edits.predict import Agreement, against_measured, agreement
from core.intervention.edits.select import scores
from core.intervention.evaluation.edit_sizes import measured_sizes
from core.intervention.evaluation.results import outcomes, rose
from core.runs.execute import execute
from core.runs.store import Store
from core.specs.behaviors import Behavior
from core.specs.project import Project
from core.specs.recipes import Action, Edit, TopK, Where
from core.specs.steps import RankSpec
from core.stats import seed_interval

SEEDS = (0, 1, 2)
BEFORE = ("reference", "policy")
ACTIONS: tuple[Action, ...] = ("remove", "flip")
FACTORS = (1.0, 0.5, 0.25)  # of the suggested k

CONTROL = "control of "

Table = pd.DataFrame


def run() -> dict[str, Any]:
    """Rates of every arm, effects of the edits, and predictions."""
    store = Store(environment.default_workspace())
    plan = investigation.open_project(store)
    rank, behavior = ranking(plan, store)
    suggested = _suggested(store, rank)
    edits = _edits(store, rank, suggested)
    arms = _arms(plan, store, edits, _source(plan, store, rank))
    before = {name: [execute(plan.evaluate(getattr(plan, name)), store)] for name in BEFORE}
    for arm in arms.values():
        for spec in arm.specs():
            execute(spec, store)
    evaluations = {
        name: [store.run_id(spec) for spec in arm.evaluations] for name, arm in arms.items()
    }
    table = _rates(store, before | evaluations)
    measured = outcomes(store, plan)
    predictions = against_measured(store, plan, measured)
    return {
        "behavior": behavior.name,
        "seeds": list(SEEDS),
        "rates": _intervals(table),
        "share_of_the_rise_cut": _cut(table, behavior.name),
        "edited_minus_control": _against_control(table, behavior.name, edits),
        "guards": _guards(table, plan),
        "predicted_against_measured": {
            name: _for_json(agreement(rows)) | {"n_edits": int(rows["undone"].nunique())}
            for name, rows in predictions.groupby("behavior")
        },
        "adopted": {
            action: _adopted(store, plan, measured, arms[f"{action} {suggested}"], behavior.name)
            for action in ACTIONS
        },
        "cpu_seconds_per_training": _cost(store, arms.values()),
    }


def _for_json(values: Agreement) -> dict[str, float | None]:
    """Values with None for NaN, which JSON lacks."""
    return {name: None if np.isnan(value) else value for name, value in values._asdict().items()}


def ranking(plan: Project, store: Store) -> tuple[str, Behavior]:
    """The newest ranking for the first behavior that rose; investigates if there is none."""
    for rank in store.finished("rank"):
        spec = store.spec(rank, RankSpec)
        risen = rose(plan.behaviors, investigation.rates(store, spec.generate))
        if risen and spec.behavior.name == risen[0].name:
            return rank, risen[0]
    investigation.investigate(store, lambda spec: execute(spec, store))
    return ranking(plan, store)


def _suggested(store: Store, rank: str) -> int:
    recipe = investigation.top_edit(store, rank, "remove").recipe
    assert isinstance(recipe, TopK)
    return recipe.k


def _edits(store: Store, rank: str, suggested: int) -> dict[str, Edit]:
    """Edits of every size, by name; the suggested size comes first."""
    sizes = [(action, round(factor * suggested)) for factor in FACTORS for action in ACTIONS]
    return {
        f"{action} {k}": investigation.top_edit(store, rank, action, k=k) for action, k in sizes
    }


def _arms(plan: Project, store: Store, edits: dict[str, Edit], source: Edit) -> dict[str, Arm]:
    """Arms by name; the source has no control, which would be the same pairs."""
    arms = {"baseline": baseline(plan, store, seeds=SEEDS)}
    for name, edit in edits.items():
        arms[name], arms[CONTROL + name] = edited_and_control(plan, store, [edit], seeds=SEEDS)
    arms["source"], _ = edited_and_control(plan, store, [source], seeds=SEEDS)
    return arms


def _source(plan: Project, store: Store, rank: str) -> Edit:
    """Remove the source with most of the attribution."""
    positive = scores(rank, store).clip(lower=0)
    source = pd.read_parquet(plan.pairs).set_index("uid")["source"].reindex(positive.index)
    name = str(positive.groupby(source).sum().idxmax())
    return Edit(
        action="remove", recipe=Where(column="source", values=(name,)), why=f"source {name}"
    )


def _rates(store: Store, evaluations: dict[str, list[str]]) -> Table:
    """`arm, seed, behavior, rate, low, high`"""
    tables = [
        investigation.rates(store, run)[["behavior", "rate", "low", "high"]].assign(
            arm=arm, seed=seed
        )
        for arm, runs in evaluations.items()
        for seed, run in enumerate(runs)
    ]
    return pd.concat(tables, ignore_index=True)


def _intervals(table: Table) -> dict[str, dict[str, Any]]:
    """Rates by arm and behavior; intervals over seeds, or over prompts if nothing was retrained."""
    intervals: dict[str, dict[str, Any]] = {}
    for (arm, behavior), rows in table.groupby(["arm", "behavior"], sort=False):
        rates = rows["rate"].tolist()
        if len(rates) == 1:
            value, low, high = rates[0], rows["low"].iloc[0], rows["high"].iloc[0]
        else:
            value, low, high, _ = seed_interval(rates)
        cell = {"rate": value, "low": max(0.0, low), "high": min(1.0, high), "seeds": rates}
        intervals.setdefault(str(arm), {})[str(behavior)] = cell
    return intervals


def _means(table: Table, behavior: str) -> pd.Series:
    return table[table["behavior"] == behavior].groupby("arm", sort=False)["rate"].mean()


def _cut(table: Table, behavior: str) -> dict[str, float]:
    """Share of the rise that each arm undoes: 1 is the reference's rate, 0 the baseline's."""
    means = _means(table, behavior)
    rise = means["baseline"] - means["reference"]
    return {arm: float((means["baseline"] - means[arm]) / rise) for arm in _retrained(table)}


def _against_control(table: Table, behavior: str, edits: Iterable[str]) -> dict[str, Any]:
    rates = table[table["behavior"] == behavior].pivot(index="seed", columns="arm", values="rate")
    differences: dict[str, Any] = {}
    for name in edits:
        edited, control = rates[name], rates[CONTROL + name]
        value, low, high, _ = seed_interval((edited - control).tolist())
        below = seed_interval(edited.tolist()).high < seed_interval(control.tolist()).low
        differences[name] = {
            **{"difference": value, "low": low, "high": high},
            "edited_interval_below_the_controls": bool(below),
        }
    return differences


def _guards(table: Table, plan: Project) -> dict[str, dict[str, float]]:
    """Change of every behavior's mean rate from the baseline, in percentage points."""
    changes: dict[str, dict[str, float]] = {}
    for behavior in plan.behaviors:
        means = _means(table, behavior.name)
        for arm in _retrained(table):
            change = 100 * float(means[arm] - means["baseline"])
            changes.setdefault(arm, {})[behavior.name] = round(change, 2)
    return changes


def _retrained(table: Table) -> list[str]:
    """Arms that were retrained on edited pairs."""
    return [arm for arm in table["arm"].unique() if arm not in (*BEFORE, "baseline")]


def _adopted(
    store: Store, plan: Project, measured: Table, arm: Arm, behavior: str
) -> list[dict[str, Any]]:
    assert arm.edit is not None
    table = measured_sizes(store, plan, measured, store.run_id(arm.edit), plan.behavior(behavior))
    rows = table.astype(object).where(table.notna(), None).to_dict(orient="records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def _cost(store: Store, arms: Iterable[Arm]) -> dict[str, float]:
    seconds = [
        store.record(store.run_id(spec))["cost"]["cpu_seconds"]
        for arm in arms
        for spec in arm.trainings
    ]
    return {"mean": float(np.mean(seconds)), "most": float(np.max(seconds)), "n": len(seconds)}
