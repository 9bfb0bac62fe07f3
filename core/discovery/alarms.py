"""Rate changes by prompt cluster, and alarms: the clusters of pairs behind unwanted changes.

A cluster's alarm, in [0, 1], is (size of a change) × (how bad it is) × (the cluster's share of all
positive score on these prompts), for the worst change on the prompts that it acts on most. A change
is the difference of a flag's rate between policy and reference, 0 where their 95% intervals
overlap. Its badness is 1 where the project says that the flag is unwanted there, ½ where it says
nothing, 0 where the change is wanted; what it says of a flag it says, reversed, of the complement.
The alarm is 0 below `FLOOR`, and where the share is no more than `BEYOND` times that which as many
pairs would have with the labels of all pairs swapped: data that only lean have as much on the other
side. That a cluster and a change coincide is a hint, not a proof.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from core.specs.behaviors import Behavior
from core.stats import rate_interval

BADNESS = {"unwanted": 1.0, "not judged": 0.5, "wanted": 0.0}
FLOOR = 0.05  # smaller alarms are none: docs/experiments/alarms.md
BEYOND = 4 / 3  # times the share with swapped labels that an alarm's cluster has, more than
NEITHER = 0.15  # share of completions with neither of two complements, at most: garbled text
MARKED = {"harmful": 1.0, "unwanted": 1.0, "wanted": 0.0, "ignore": 0.0}
CELL = ["prompt_cluster", "group", "condition", "flag"]
CHANGES = [*CELL, "model", "rate", "low", "high", "n", "n_unscored", "n_prompts"]
ALARMS = [
    *("cluster", "alarm", "flag", "group", "condition", "verdict", "reference", "policy"),
    *("reference_low", "reference_high", "policy_low", "policy_high", "n", "n_prompts"),
]


def rate_changes(completions: pd.DataFrame, prompts: pd.DataFrame) -> pd.DataFrame:
    """`CHANGES`: rates of judged completions by cell and model, with 95% intervals by prompt.

    `prompts` has `prompt_id, condition, cluster`; those in no cluster, −1, are a cell too. Unscored
    completions are left out and counted.
    """
    flags = [str(name) for name in completions.select_dtypes("boolean")]
    clusters = prompts[["prompt_id", "condition", "cluster"]]
    rows = completions.merge(clusters, on=["prompt_id", "condition"], validate="many_to_one")
    by = ["cluster", "group", "condition", "model"]
    table = [
        dict(zip([*CELL[:3], "model"], key, strict=True), flag=flag, **_rate(part, flag))
        for key, part in rows.groupby(by)
        for flag in flags
    ]
    return pd.DataFrame(table, columns=CHANGES)


def ranked(
    clusters: pd.DataFrame,
    changes: pd.DataFrame,
    behaviors: Iterable[Behavior],
    marks: Mapping[int, str] | None = None,
) -> pd.DataFrame:
    """`ALARMS`, one row per cluster with a positive score on some prompts, the worst first.

    `clusters` has `cluster, prompt_cluster, push, push_share, swapped_share` (of an earlier
    version's run not the last); `changes` is a discover run's. A person's mark of a cluster
    overrides the project's verdict on its flags.
    """
    cells = _cells(changes, behaviors)
    rows = []
    for cluster in clusters[(clusters["cluster"] >= 0) & (clusters["push"] > 0)].to_dict("records"):
        nearby = cells[cells["prompt_cluster"] == cluster["prompt_cluster"]]
        if nearby.empty:
            continue
        mark = (marks or {}).get(int(cluster["cluster"]))
        badness = nearby["verdict"].map(BADNESS) if mark is None else MARKED[mark]
        worst = nearby["size"] * nearby["part"] * badness
        share = float(np.nan_to_num(cluster["push_share"]))
        stands_out = share > BEYOND * cluster.get("swapped_share", 0.0)
        alarm = float(worst.max()) * share * stands_out
        row = {"cluster": int(cluster["cluster"]), "alarm": alarm if alarm >= FLOOR else 0.0}
        rows.append(nearby.loc[worst.idxmax()].to_dict() | row)
    table = pd.DataFrame(rows, columns=ALARMS)
    return table.sort_values("alarm", ascending=False, kind="stable", ignore_index=True)


def complement_of(flag: str, rates: pd.DataFrame) -> str | None:
    """The flag that falls as this one rises, with rates of about 1 together in every cell.

    `rates` is (cell, flag). None without one.
    """
    others = rates.drop(columns=flag)
    distance = others.add(rates[flag], axis=0).sub(1).abs().max()
    falls = others.sub(others.mean()).mul(rates[flag] - rates[flag].mean(), axis=0).sum() < 0
    near = distance[falls & (distance <= NEITHER)]
    return None if near.empty else str(near.idxmin())


def _rate(part: pd.DataFrame, flag: str) -> dict[str, float | int]:
    scored = part[part[flag].notna()]
    rate, low, high, n_prompts = rate_interval(scored[flag], scored["prompt_id"])
    counts = {"n": len(scored), "n_unscored": len(part) - len(scored), "n_prompts": n_prompts}
    return {"rate": rate, "low": low, "high": high, **counts}


def _cells(changes: pd.DataFrame, behaviors: Iterable[Behavior]) -> pd.DataFrame:
    """Change of each `CELL`: its size, verdict and `part`, its share of the cluster's prompts."""
    by_model = {
        model: rows.set_index(CELL)[["rate", "low", "high", "n", "n_prompts"]]
        for model, rows in changes.groupby("model")
    }
    if by_model.keys() < {"reference", "policy"}:
        return pd.DataFrame(columns=[*CELL, "size", "part", *ALARMS[5:]])
    before = by_model["reference"].rename(columns=_named("reference"))
    after = by_model["policy"].rename(columns=_named("policy"))
    cells = after.join(before.drop(columns=["n", "n_prompts"]), how="inner").reset_index()
    cells = cells[cells["policy"].notna() & cells["reference"].notna()].copy()
    change = cells["policy"] - cells["reference"]
    wanted = _wanted(changes, behaviors)
    keys = zip(cells["flag"], cells["group"], cells["condition"], strict=True)
    cells["verdict"] = [
        _verdict(wanted.get(key), rose) for key, rose in zip(keys, change.gt(0), strict=True)
    ]
    apart = cells["policy_low"].gt(cells["reference_high"])
    apart |= cells["policy_high"].lt(cells["reference_low"])
    cells["size"] = change.abs().where(apart, 0.0)
    prompts = cells.drop_duplicates(CELL[:3]).groupby("prompt_cluster")["n_prompts"].sum()
    cells["part"] = cells["n_prompts"] / cells["prompt_cluster"].map(prompts)
    return cells


def _wanted(
    changes: pd.DataFrame, behaviors: Iterable[Behavior]
) -> dict[tuple[str, str, str], bool]:
    """Whether more of a flag is wanted on a group under a condition, where the project says so."""
    rates = changes.pivot_table(index=[*CELL[:3], "model"], columns="flag", values="rate")
    named = {(b.flag, b.group, b.condition): b.wanted for b in behaviors}
    others = {str(flag): complement_of(str(flag), rates) for flag in rates}
    reversed_ = {
        (other, group, condition): not wanted
        for (flag, group, condition), wanted in named.items()
        if (other := others.get(flag)) is not None
    }
    return reversed_ | named


def _verdict(wanted: bool | None, rose: bool) -> str:
    """The project's verdict on a flag that became more frequent, or less."""
    if wanted is None:
        return "not judged"
    return "wanted" if wanted == rose else "unwanted"


def _named(model: str) -> dict[str, str]:
    return {"rate": model, "low": f"{model}_low", "high": f"{model}_high"}
