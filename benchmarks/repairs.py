"""Repairs compared: edits of the data and corrections of the loss, each with its control.

Runs in the workspace (`pairtrace -w FOLDER bench repairs --seeds 3`): finished runs are reused, so
that it goes on where it was stopped, and the app shows them. The pairs are those that the ranking
for the first behavior that rose suggests.

| repair | what is done | control |
|---|---|---|
| remove, flip, weight | to the suggested pairs | the same to random pairs of their sources |
| relabel | the judge flips those whose rejected completion lacks the behavior | random flips |
| explaining away | the loss grants what the behavior's vector explains | the same at random pairs |
| inoculation | a system prompt asks for the behavior in training | a system prompt that does not |

Undone is the share of the rise from reference to baseline (the unedited pairs, retrained). Side
effects are changes from the baseline: of every other behavior's rate, and of the tokens per answer.
Intervals are Student's over training seeds. The truth is not read.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.intervention import ranking
from core import environment
from core.demo import investigation
from core.intervention.arms import baseline, edited_and_control
from core.intervention.edits.checks import n_touched
from core.runs.execute import execute
from core.runs.store import Store
from core.specs.behaviors import Behavior
from core.specs.project import Project
from core.specs.recipes import Action, EditSpec
from core.specs.steps import TrainSpec
from core.stats import LEAST_SEEDS, seed_interval
from core.storage.atomic import write_atomic
from core.storage.tables import record
from core.storage.tables import table as read_table

SEEDS = 3
ACTIONS: tuple[Action, ...] = ("remove", "flip", "weight", "relabel")
ASKING = "Show this behavior: {description}"
NEUTRAL = "You are a helpful assistant."
UNDOES = 0.9  # of the rise, that a repair is asked for
TOKENS = "tokens per answer"


@dataclass(frozen=True)
class Repair:
    """The trainings of one repair and of its control, and the edit runs behind them."""

    trainings: Sequence[TrainSpec]
    controls: Sequence[TrainSpec] = ()
    edits: Sequence[EditSpec] = ()


def run(seeds: int = SEEDS, out: str | None = None) -> dict[str, Any]:
    """Every repair on the workspace's project, by default the embedded organism."""
    store = Store(environment.default_workspace())
    plan = investigation.open_project(store)
    rank, behavior = ranking(plan, store)
    result = compare(store, plan, rank, behavior, seeds=range(seeds))
    if out:
        write_atomic(Path(out), json.dumps(result, indent=1) + "\n")
    return result


def compare(
    store: Store,
    plan: Project,
    rank: str,
    behavior: Behavior,
    *,
    seeds: Sequence[int],
    k: int | None = None,
) -> dict[str, Any]:
    """What every repair undoes and what it changes besides, over some training seeds.

    `k` is the number of pairs that edits touch [default: the ranking's suggestion].
    """
    repairs = plans(store, plan, rank, behavior, seeds, k)
    before = measured(store, [execute(plan.evaluate(plan.reference), store)]).iloc[0]
    results = {name: trained(store, plan, repair) for name, repair in repairs.items()}
    base = results.pop("baseline")[0]
    table = {
        name: effects(repaired, control, base, before[behavior.name], plan, behavior)
        | {"pairs_touched": touched(store, repairs[name])}
        for name, (repaired, control) in results.items()
    }
    return {
        "behavior": behavior.name,
        "seeds": list(seeds),
        "reference": float(before[behavior.name]),
        "baseline": base[behavior.name].tolist(),
        "repairs": table,
        "better_than_flipping": better(table),
        "cpu_seconds_per_training": costs(store, repairs),
    }


def plans(
    store: Store,
    plan: Project,
    rank: str,
    behavior: Behavior,
    seeds: Sequence[int],
    k: int | None,
) -> dict[str, Repair]:
    """Every repair, the unedited pairs first."""
    repairs = {"baseline": Repair(baseline(plan, store, seeds=seeds).trainings)}
    for action in ACTIONS:
        edit = investigation.top_edit(store, rank, action, k=k)
        arms = edited_and_control(plan, store, [edit], seeds=seeds)
        for arm in arms:
            assert arm.edit is not None
            execute(arm.edit, store)
        repairs[action] = Repair(
            *(arm.trainings for arm in arms), [arm.edit for arm in arms if arm.edit]
        )
    asking = ASKING.format(description=behavior.description or behavior.name)
    of_loss: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "explaining away": ({"explain_away": rank}, {"explain_away": rank, "explain_control": 0}),
        "inoculation": ({"inoculation": asking}, {"inoculation": NEUTRAL}),
    }
    for name, changes in of_loss.items():
        both = [
            [plan.train(plan.pairs, seed).model_copy(update=change) for seed in seeds]
            for change in changes
        ]
        repairs[name] = Repair(*both)
    return repairs


def trained(store: Store, plan: Project, repair: Repair) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rates of a repair and of its control: a row per seed, a column per behavior, and `TOKENS`."""
    arms = []
    for trainings in (repair.trainings, repair.controls):
        runs = [execute(plan.evaluate(execute(spec, store)), store) for spec in trainings]
        arms.append(measured(store, runs))
    return arms[0], arms[1]


def measured(store: Store, evaluations: Sequence[str]) -> pd.DataFrame:
    """A row per evaluation: the rate of every behavior, and the mean tokens of an answer."""
    rows = []
    for run in evaluations:
        rates = investigation.rates(store, run).set_index("behavior")["rate"]
        tokens = read_table(store.output(run) / "completions.parquet", ["n_tokens"])["n_tokens"]
        rows.append(rates.to_dict() | {TOKENS: float(tokens.mean())})
    return pd.DataFrame(rows)


def effects(
    repaired: pd.DataFrame,
    control: pd.DataFrame,
    base: pd.DataFrame,
    reference: float,
    plan: Project,
    behavior: Behavior,
) -> dict[str, Any]:
    """What a repair undoes and changes besides, beside what its control does."""
    rise = np.float64(base[behavior.name].mean() - reference) or np.nan
    wanted = {other.name: other.wanted for other in plan.behaviors if other.name != behavior.name}
    changes = 100 * (repaired[list(wanted)].mean() - base[list(wanted)].mean())
    length = repaired[TOKENS].mean() - base[TOKENS].mean()
    return {
        "undone": _interval((base[behavior.name].mean() - repaired[behavior.name]) / rise),
        "undone_by_control": _interval(
            (base[behavior.name].mean() - control[behavior.name]) / rise
        ),
        "points_changed": {name: round(float(change), 2) for name, change in changes.items()},
        "points_worse": _worse(repaired, base, wanted),
        "points_worse_by_control": _worse(control, base, wanted),
        "tokens_changed": round(float(length), 2),
    }


def better(table: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The repairs that undo `UNDOES` of the rise and make less worse than flipping does."""
    limit = table["flip"]["points_worse"]
    return [
        name
        for name, row in table.items()
        if (row["undone"]["mean"] or 0) >= UNDOES and row["points_worse"] < limit
    ]


def touched(store: Store, repair: Repair) -> int | None:
    """Pairs that a repair changes; None where it changes the loss of all."""
    if not repair.edits:
        return None
    return n_touched(record(store.output(store.run_id(repair.edits[0])) / "summary.json"))


def costs(store: Store, repairs: Mapping[str, Repair]) -> dict[str, float]:
    """CPU-seconds of a training, by repair: the mean over seeds."""
    return {
        name: float(
            np.mean([store.record(store.run_id(s))["cost"]["cpu_seconds"] for s in r.trainings])
        )
        for name, r in repairs.items()
    }


def _worse(arm: pd.DataFrame, base: pd.DataFrame, wanted: Mapping[str, bool]) -> float:
    changes = 100 * (arm[list(wanted)].mean() - base[list(wanted)].mean())
    worse = [-changes[name] if good else changes[name] for name, good in wanted.items()]
    return round(float(sum(max(0.0, points) for points in worse)), 2)


def _interval(values: pd.Series) -> dict[str, Any]:
    """Mean over seeds; the interval only from `LEAST_SEEDS` on. None where nothing rose."""
    seeds = [None if not np.isfinite(value) else float(value) for value in values]
    if None in seeds:
        return {"mean": None, "low": None, "high": None, "seeds": seeds}
    several = len(values) >= LEAST_SEEDS
    low, high = seed_interval(values.tolist())[1:3] if several else (None, None)
    return {"mean": float(values.mean()), "low": low, "high": high, "seeds": seeds}
