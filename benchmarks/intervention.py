"""Does the edit do what attribution says? Every arm of the default world, retrained and measured.

Works in the workspace (`pairtrace -w FOLDER bench intervention`): what is finished there is not
done again, and the app shows all of it. Arms: the unedited pairs, the suggested top k removed and
flipped, a random control of each, and the source with the most attribution dropped; then the top k
at other sizes, with one seed. Rates are means over training seeds with a Student interval; changes
are against the retrained baseline. The truth is not read.
"""

from collections.abc import Iterable
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from core import demo
from core.data.behaviors import Behavior
from core.intervention.adoption import sizes
from core.intervention.arms import Arm, baseline, edited_and_control
from core.intervention.outcomes import outcomes, rose
from core.intervention.predictions import Agreement, against_measured, agreement
from core.intervention.recipes import Action, Edit, Where
from core.intervention.selection import scores
from core.intervention.statistics import seed_interval
from core.runs import environment
from core.runs.execution import execute
from core.runs.project import Project
from core.runs.specs import RankSpec
from core.runs.store import Store

SEEDS = (0, 1, 2)
SIZE_SEEDS = (0,)  # of the sizes beside the suggested one: a training costs half a CPU-minute
BEFORE = ("reference", "policy")
ACTIONS: tuple[Action, ...] = ("remove", "flip")
FACTORS = (0.5, 0.25, 2.0)  # of the suggested k

Table = pd.DataFrame


def run() -> dict[str, Any]:
    """Rates of every arm, what they say of the edit, and what was predicted."""
    store = Store(environment.default_workspace())
    plan = demo.open_project(store)
    rank, behavior = _ranking(plan, store)
    arms = _arms(plan, store, rank)
    before = {name: [execute(plan.evaluate(getattr(plan, name)), store)] for name in BEFORE}
    for arm in _seed_by_seed(arms.values()):
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
        "edited_minus_control": _against_control(table, behavior.name),
        "guards": _guards(table, plan),
        "predicted_against_measured": {
            name: _known(agreement(rows)) | {"n_edits": int(rows["undone"].nunique())}
            for name, rows in predictions.groupby("behavior")
        },
        "adopted": {
            action: _adopted(store, plan, measured, arms[action], behavior.name)
            for action in ACTIONS
        },
        "cpu_seconds_per_training": _cost(store, arms.values()),
    }


def _known(found: Agreement) -> dict[str, float | None]:
    """JSON knows no NaN."""
    return {name: None if np.isnan(value) else value for name, value in found._asdict().items()}


def _ranking(plan: Project, store: Store) -> tuple[str, Behavior]:
    """The newest ranking for the first behavior that rose; investigates where there is none."""
    for rank in store.finished("rank"):
        spec = store.spec(rank)
        assert isinstance(spec, RankSpec)
        risen = rose(plan.behaviors, demo.rates(store, spec.generate))
        if risen and spec.behavior.name == risen[0].name:
            return rank, risen[0]
    demo.investigate(store, lambda spec: execute(spec, store))
    return _ranking(plan, store)


def _arms(plan: Project, store: Store, rank: str) -> dict[str, Arm]:
    """By name; the ones that the verdict needs come first."""
    arms = {"baseline": baseline(plan, store, seeds=SEEDS)}
    whole = demo.top_edit(store, rank, "remove").recipe.k  # type: ignore[union-attr]
    for action in ACTIONS:
        edit = demo.top_edit(store, rank, action)
        arms[action], arms[f"control of {action}"] = edited_and_control(
            plan, store, [edit], seeds=SEEDS
        )
    arms["source"], _ = edited_and_control(plan, store, [_source(plan, store, rank)], seeds=SEEDS)
    for factor, action in product(FACTORS, ACTIONS):
        k = int(whole * factor)
        arms[f"{action} {k}"] = _top(plan, store, rank, action, k)
    return arms


def _top(plan: Project, store: Store, rank: str, action: Action, k: int) -> Arm:
    edit = demo.top_edit(store, rank, action, k=k)
    return edited_and_control(plan, store, [edit], seeds=SIZE_SEEDS)[0]


def _source(plan: Project, store: Store, rank: str) -> Edit:
    """Leave out the source that carries most of the attribution."""
    positive = scores(rank, store).clip(lower=0)
    source = pd.read_parquet(plan.pairs).set_index("uid")["source"].reindex(positive.index)
    name = str(positive.groupby(source).sum().idxmax())
    return Edit(
        action="remove", recipe=Where(column="source", values=(name,)), why=f"source {name}"
    )


def _seed_by_seed(arms: Iterable[Arm]) -> list[Arm]:
    """Arms of one seed each, other sizes last: what is interrupted has compared like with like."""
    parts = [
        (len(arm.trainings) < len(SEEDS), place, Arm(arm.name, arm.edit, (training,), (measured,)))
        for arm in arms
        for place, (training, measured) in enumerate(
            zip(arm.trainings, arm.evaluations, strict=True)
        )
    ]
    return [arm for _, _, arm in sorted(parts, key=lambda part: part[:2])]


def _rates(store: Store, evaluations: dict[str, list[str]]) -> Table:
    """`arm, seed, behavior, rate, low, high`"""
    tables = [
        demo.rates(store, run)[["behavior", "rate", "low", "high"]].assign(arm=arm, seed=seed)
        for arm, runs in evaluations.items()
        for seed, run in enumerate(runs)
    ]
    return pd.concat(tables, ignore_index=True)


def _intervals(table: Table) -> dict[str, dict[str, Any]]:
    """Per arm and behavior; over seeds, or over prompts where nothing was retrained."""
    found: dict[str, dict[str, Any]] = {}
    for (arm, behavior), rows in table.groupby(["arm", "behavior"], sort=False):
        rates = rows["rate"].tolist()
        if len(rates) == 1:
            value, low, high = rates[0], rows["low"].iloc[0], rows["high"].iloc[0]
        else:
            value, low, high, _ = seed_interval(rates)
        one = {"rate": value, "low": max(0.0, low), "high": min(1.0, high), "seeds": rates}
        found.setdefault(str(arm), {})[str(behavior)] = one
    return found


def _means(table: Table, behavior: str) -> pd.Series:
    return table[table["behavior"] == behavior].groupby("arm", sort=False)["rate"].mean()


def _cut(table: Table, behavior: str) -> dict[str, float]:
    """1: back at the reference's rate; 0: as the retrained baseline."""
    means = _means(table, behavior)
    rise = means["baseline"] - means["reference"]
    arms = [arm for arm in means.index if arm not in ("reference", "policy", "baseline")]
    return {arm: float((means["baseline"] - means[arm]) / rise) for arm in arms}


def _against_control(table: Table, behavior: str) -> dict[str, dict[str, Any]]:
    own = table[table["behavior"] == behavior].pivot(index="seed", columns="arm", values="rate")
    found: dict[str, dict[str, Any]] = {}
    for action in ACTIONS:
        edited, control = own[action], own[f"control of {action}"]
        value, low, high, _ = seed_interval((edited - control).tolist())
        apart = seed_interval(edited.tolist()).high < seed_interval(control.tolist()).low
        found[action] = {
            **{"difference": value, "low": low, "high": high},
            "edited_interval_below_the_controls": bool(apart),
        }
    return found


def _guards(table: Table, plan: Project) -> dict[str, dict[str, float]]:
    """Change of every other behavior's mean against the baseline, in points."""
    found: dict[str, dict[str, float]] = {}
    for behavior in plan.behaviors:
        means = _means(table, behavior.name)
        for arm in ("remove", "flip", "source", "control of remove", "control of flip"):
            change = 100 * float(means[arm] - means["baseline"])
            found.setdefault(arm, {})[behavior.name] = round(change, 2)
    return found


def _adopted(
    store: Store, plan: Project, measured: Table, arm: Arm, behavior: str
) -> list[dict[str, Any]]:
    assert arm.edit is not None
    table = sizes(store, plan, measured, store.run_id(arm.edit), plan.behavior(behavior))
    rows = table.astype(object).where(table.notna(), None).to_dict(orient="records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def _cost(store: Store, arms: Iterable[Arm]) -> dict[str, float]:
    seconds = [
        store.record(store.run_id(spec))["cost"]["cpu_seconds"]
        for arm in arms
        for spec in arm.trainings
    ]
    return {"mean": float(np.mean(seconds)), "most": float(np.max(seconds)), "n": len(seconds)}
