"""Sizes of an edit: the same edit with several top k, and which of them to adopt.

Only a ranking's top k has a size; everything else about an edit stays as it is.

The best of several sizes looks better than it is on the prompts that it was chosen by. So every
group's held-out prompts are split in two by a hash of their ids: sizes are compared on the *dev*
half, and the adopted size's rate is reported for the *test* half, which took no part in the choice.
Among the sizes whose guards are met, the smallest is adopted that is within one standard error of
the best: more pairs than needed cost data and risk.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from core.errors import UserError
from core.intervention.evaluation.rates import rates
from core.runs.store import Store
from core.specs.behaviors import Behavior
from core.specs.project import Project
from core.specs.recipes import AllOf, AnyOf, Edit, EditSpec, NoneOf, Recipe, TopK
from core.stats import LEAST_SEEDS, seed_rate_interval
from core.storage.tables import table as read_table

FACTORS = (0.25, 0.5, 1.0, 2.0)
GUARD = 0.03  # of rate: how much worse another behavior may get
CERTAINTY = 2.0  # standard errors beyond that before a guard counts as broken
COLUMNS = [
    *("edit", "k", "seeds", "dev", "dev_error", "test", "test_low", "test_high"),
    *("broken", "adopted"),
]


class Guard(NamedTuple):
    """Another behavior that a size made worse on the dev prompts, by how much."""

    behavior: str
    worse: float


def ladder(edits: Sequence[Edit], factors: Sequence[float] = FACTORS) -> list[tuple[Edit, ...]]:
    """The edits at every size, smallest first; sizes that round to the same k only once.

    Raises `UserError` where no recipe has a size.
    """
    if not total_k(edits):
        raise UserError("Several sizes need a recipe with a number of pairs: a ranking's top k.")
    steps = [scaled(edits, factor) for factor in sorted(factors)]
    return list(dict.fromkeys(steps))


def scaled(edits: Sequence[Edit], factor: float) -> tuple[Edit, ...]:
    """The edits with every top k times `factor`, rounded, at least one pair."""
    return tuple(edit.model_copy(update={"recipe": _scaled(edit.recipe, factor)}) for edit in edits)


def total_k(edits: Sequence[Edit]) -> int:
    """The sum of every top k, which orders the sizes of one edit; 0 where there is none."""
    return sum(_k(edit.recipe) for edit in edits)


def shape(edits: Sequence[Edit]) -> tuple[Edit, ...]:
    """What the sizes of one edit have in common: every k is 1, reasons are left out."""
    return tuple(edit.model_copy(update={"why": ""}) for edit in scaled(edits, 0.0))


def siblings(edits: Mapping[str, Sequence[Edit]], run: str) -> dict[str, int]:
    """The edit runs that are the edit of `run` at another size, and itself: run → size."""
    wanted = shape(edits[run])
    return {name: total_k(other) for name, other in edits.items() if shape(other) == wanted}


def measured_sizes(
    store: Store, project: Project, measured: pd.DataFrame, edit: str, behavior: Behavior
) -> pd.DataFrame:
    """`COLUMNS`, one row per measured size of an edit, smallest first; at most one is adopted.

    `measured` as `results.outcomes` gives it; `dev` and `test` are means over training seeds,
    `dev_error` the standard error of the former (0 for a single seed: unknown), `broken` a list of
    guards. Nothing is adopted where every size breaks a guard, or the behavior was never measured.
    """
    before = _halves(store, project, _before(measured))
    edited = measured[(measured["arm"] == "edited") & (measured["edit"] != "")]
    specs = {run: _edits(store, run) for run in {edit, *edited["edit"]}}
    rows = []
    for run, k in sorted(siblings(specs, edit).items()):
        evaluations = _newest_per_seed(edited[edited["edit"] == run])
        if evaluations:
            halves = _halves(store, project, evaluations)
            row = {"edit": run, "k": k, **_of_behavior(halves, behavior.name)}
            rows.append(row | {"broken": _broken(halves, before, project, behavior)})
    if not rows:
        raise UserError(f"{edit}: no arm of it is measured yet, so no size can be adopted.")
    table = pd.DataFrame(rows).sort_values("k", ignore_index=True)
    return table.assign(adopted=_adopted(table))[COLUMNS]


def in_dev(completions: pd.DataFrame) -> pd.Series:
    """True for the rows of dev prompts: every second one of a group, in the order of a hash."""
    prompts = completions[["group", "prompt_id"]].drop_duplicates()
    order = prompts["prompt_id"].map(lambda name: hashlib.blake2b(name.encode()).hexdigest())
    ranks = order.groupby(prompts["group"]).rank(method="first")
    dev = prompts.loc[ranks % 2 == 1, "prompt_id"]
    return completions["prompt_id"].isin(dev)


def _scaled(recipe: Recipe, factor: float) -> Recipe:
    if isinstance(recipe, TopK):
        return recipe.model_copy(update={"k": max(1, round(recipe.k * factor))})
    if isinstance(recipe, AllOf | AnyOf | NoneOf):
        parts = tuple(_scaled(part, factor) for part in recipe.parts)
        return recipe.model_copy(update={"parts": parts})
    return recipe


def _k(recipe: Recipe) -> int:
    if isinstance(recipe, TopK):
        return recipe.k
    parts = recipe.parts if isinstance(recipe, AllOf | AnyOf | NoneOf) else ()
    return sum(_k(part) for part in parts)


def _edits(store: Store, run: str) -> tuple[Edit, ...]:
    return store.spec(run, EditSpec).edits


def _adopted(table: pd.DataFrame) -> pd.Series:
    sound = table[[not guards for guards in table["broken"]]].dropna(subset="dev")
    if sound.empty:
        return pd.Series(False, index=table.index)
    best = sound.sort_values("dev", kind="stable").iloc[0]
    near = sound[sound["dev"] <= best["dev"] + best["dev_error"]]
    return pd.Series(table.index == near["k"].idxmin(), index=table.index)


def _before(measured: pd.DataFrame) -> list[str]:
    """Evaluations of the unedited data: retrained where there are any, else the policy."""
    retrained = _newest_per_seed(measured[measured["arm"] == "baseline"])
    return retrained or _newest_per_seed(measured[measured["arm"] == "policy"])


def _newest_per_seed(measured: pd.DataFrame) -> list[str]:
    """The newest evaluation of each training seed: a seed tried again is no other seed."""
    return list(measured.drop_duplicates("seed")["evaluate"])


def _halves(store: Store, project: Project, evaluations: Sequence[str]) -> pd.DataFrame:
    """`behavior, rate, half`, a row per evaluation, behavior and half"""
    tables = [pd.DataFrame(columns=["behavior", "rate", "half"])]
    for run in evaluations:
        completions = read_table(store.output(run) / "completions.parquet")
        dev = in_dev(completions)
        for half, rows in (("dev", completions[dev]), ("test", completions[~dev])):
            tables.append(rates(rows, project.behaviors)[["behavior", "rate"]].assign(half=half))
    return pd.concat(tables[1:] or tables, ignore_index=True)


def _of_behavior(halves: pd.DataFrame, name: str) -> dict[str, Any]:
    dev, test = (_rates(halves, half, name) for half in ("dev", "test"))
    low = high = np.nan
    if len(test) >= LEAST_SEEDS:
        _, low, high, _ = seed_rate_interval(list(test))
    return {
        "seeds": len(dev),
        "dev": dev.mean(),
        "dev_error": _error(dev),
        "test": test.mean(),
        "test_low": low,
        "test_high": high,
    }


def _broken(
    halves: pd.DataFrame, before: pd.DataFrame, project: Project, behavior: Behavior
) -> list[Guard]:
    broken = []
    for guard in project.behaviors:
        old, new = (_rates(table, "dev", guard.name) for table in (before, halves))
        worse = (old.mean() - new.mean()) * (1 if guard.wanted else -1)
        doubt = CERTAINTY * float(np.hypot(_error(old), _error(new)))
        if guard.name != behavior.name and worse > GUARD + doubt:
            broken.append(Guard(guard.name, float(worse)))
    return broken


def _rates(halves: pd.DataFrame, half: str, name: str) -> pd.Series:
    rows = halves[(halves["half"] == half) & (halves["behavior"] == name)]
    return rows["rate"].astype(float)


def _error(values: pd.Series) -> float:
    """Standard error of the mean over seeds; 0 for a single seed, where it is unknown."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
