"""Which size of an edit to adopt, chosen on one half of the held-out prompts, told on the other.

The best of several sizes looks better than it is on the prompts that it was chosen by. So every
group's held-out prompts are split in two by a hash of their ids: sizes are compared on the *dev*
half, and the adopted size's rate is given for the *test* half, which took no part in the choice.
Among the sizes whose guards hold, the smallest is adopted that is within one standard error of the
best: more pairs than needed cost data and risk. Knows nothing of how rates were measured.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from core.errors import UserError
from core.intervention.edits.dose import shape, total_k
from core.intervention.evaluation.rates import rates
from core.runs.store import Store
from core.specs.behaviors import Behavior
from core.specs.project import Project
from core.specs.steps import EditSpec
from core.stats import LEAST_SEEDS, seed_interval
from core.storage.tables import table as read_table

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


def in_dev(completions: pd.DataFrame) -> pd.Series:
    """True for the rows of dev prompts: every second one of a group, in the order of a hash."""
    prompts = completions[["group", "prompt_id"]].drop_duplicates()
    order = prompts["prompt_id"].map(lambda name: hashlib.blake2b(name.encode()).hexdigest())
    ranks = order.groupby(prompts["group"]).rank(method="first")
    dev = prompts.loc[ranks % 2 == 1, "prompt_id"]
    return completions["prompt_id"].isin(dev)


def sizes(
    store: Store, project: Project, measured: pd.DataFrame, edit: str, behavior: Behavior
) -> pd.DataFrame:
    """`COLUMNS`, one row per measured size of an edit, smallest first; at most one is adopted.

    `measured` as `outcomes` gives it; `dev` and `test` are means over training seeds, `dev_error`
    the standard error of the former (0 for a single seed: unknown), `broken` a list of guards.
    Nothing is adopted where every size breaks a guard, or the behavior was never measured.
    """
    spec = store.spec(edit)
    assert isinstance(spec, EditSpec)
    before = _halves(store, project, _before(measured))
    rows = []
    for run in sorted(set(measured.loc[measured["arm"] == "edited", "edit"]) - {""}):
        other = store.spec(run)
        assert isinstance(other, EditSpec)
        if shape(other.edits) != shape(spec.edits):
            continue
        own = measured[(measured["edit"] == run) & (measured["arm"] == "edited")]
        halves = _halves(store, project, _one_per_seed(own))
        rows.append(
            {"edit": run, "k": total_k(other.edits)}
            | _of_behavior(halves, behavior.name)
            | {"broken": _broken(halves, before, project, behavior)}
        )
    if not rows:
        raise UserError(f"{edit}: no arm of it is measured yet, so no size can be adopted.")
    table = pd.DataFrame(rows).sort_values("k", ignore_index=True)
    return table.assign(adopted=_adopted(table))[COLUMNS]


def _adopted(table: pd.DataFrame) -> pd.Series:
    sound = table[[not broken for broken in table["broken"]]].dropna(subset="dev")
    if sound.empty:
        return pd.Series(False, index=table.index)
    best = sound.sort_values("dev", kind="stable").iloc[0]
    near = sound[sound["dev"] <= best["dev"] + best["dev_error"]]
    return pd.Series(table.index == near["k"].idxmin(), index=table.index)


def _before(measured: pd.DataFrame) -> Sequence[str]:
    """Evaluations of the unedited data: retrained where there are any, else the policy."""
    for arm in ("baseline", "policy"):
        found = _one_per_seed(measured[measured["arm"] == arm])
        if found:
            return found
    return []


def _one_per_seed(measured: pd.DataFrame) -> list[str]:
    """The newest evaluation of each training seed: a seed tried again is no other seed."""
    return list(measured.drop_duplicates("seed")["evaluate"])


def _halves(store: Store, project: Project, evaluations: Sequence[str]) -> pd.DataFrame:
    """`behavior, half, evaluate, rate`"""
    tables = []
    for run in evaluations:
        completions = read_table(store.output(run) / "completions.parquet")
        dev = in_dev(completions)
        for half, rows in (("dev", completions[dev]), ("test", completions[~dev])):
            found = rates(rows, project.behaviors)[["behavior", "rate"]]
            tables.append(found.assign(half=half, evaluate=run))
    columns = ["behavior", "rate", "half", "evaluate"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def _of_behavior(halves: pd.DataFrame, name: str) -> dict[str, Any]:
    dev, test = (_rates(halves, half, name) for half in ("dev", "test"))
    low = high = np.nan
    if len(test) >= LEAST_SEEDS:
        _, low, high, _ = seed_interval(list(test))
    return {
        "seeds": len(dev),
        "dev": dev.mean(),
        "dev_error": _error(dev),
        "test": test.mean(),
        "test_low": float(np.clip(low, 0, 1)),
        "test_high": float(np.clip(high, 0, 1)),
    }


def _broken(
    halves: pd.DataFrame, before: pd.DataFrame, project: Project, behavior: Behavior
) -> list[Guard]:
    found = []
    for guard in project.behaviors:
        old, new = (_rates(table, "dev", guard.name) for table in (before, halves))
        worse = (old.mean() - new.mean()) * (1 if guard.wanted else -1)
        doubt = CERTAINTY * float(np.hypot(_error(old), _error(new)))
        if guard.name != behavior.name and worse > GUARD + doubt:
            found.append(Guard(guard.name, float(worse)))
    return found


def _rates(halves: pd.DataFrame, half: str, name: str) -> pd.Series:
    own = halves[(halves["half"] == half) & (halves["behavior"] == name)]
    return own["rate"].astype(float)


def _error(values: pd.Series) -> float:
    """Standard error of the mean over seeds; 0 where one seed tells nothing of it."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
