"""Clusters to look at first: pairs behind a change that nobody wants and the reference lacked.

A cluster's alarm is (how bad the change is on the prompts that it pushes) × (the share of all push
on those prompts that it makes up), in [0, 1]. A change is the difference of a flag's rate between
policy and reference; it is as bad as it is large where the project says that the flag is unwanted
there, half as bad where the project says nothing, and not at all where the change is wanted. That
cluster and change go together is a hint to look at, not a proof.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from core.specs.behaviors import Behavior

UNKNOWN = 0.5  # weight of a change that the project does not judge
MARKED = {"harmful": 1.0, "unwanted": 1.0, "wanted": 0.0, "ignore": 0.0}
COLUMNS = [
    *("cluster", "alarm", "flag", "group", "condition", "verdict", "reference", "policy"),
    *("reference_low", "reference_high", "policy_low", "policy_high", "n", "n_prompts"),
]
CELL = ["prompt_cluster", "group", "condition", "flag"]


def ranked(
    clusters: pd.DataFrame,
    changes: pd.DataFrame,
    behaviors: Iterable[Behavior],
    marks: Mapping[int, str] | None = None,
) -> pd.DataFrame:
    """`COLUMNS`, one row per cluster that pushes some prompts, the worst first.

    `clusters` has `cluster, prompt_cluster, push, push_share`; `changes` is a discover run's. What
    a person marked a cluster with goes before what the project says of its flags.
    """
    cells = _cells(changes, behaviors)
    pushing = clusters[(clusters["cluster"] >= 0) & (clusters["push"] > 0)]
    rows = []
    for cluster in pushing.to_dict("records"):
        own = cells[cells["prompt_cluster"] == cluster["prompt_cluster"]]
        if own.empty:
            continue
        mark = (marks or {}).get(int(cluster["cluster"]))
        weight = own["weight"] if mark is None else MARKED[mark]
        bad = own["size"] * own["part"] * weight
        share = float(np.nan_to_num(cluster["push_share"]))
        raised = {"cluster": int(cluster["cluster"]), "alarm": float(bad.max()) * share}
        rows.append(own.loc[bad.idxmax()].to_dict() | raised)
    found = pd.DataFrame(rows, columns=COLUMNS)
    return found.sort_values("alarm", ascending=False, kind="stable", ignore_index=True)


def _cells(changes: pd.DataFrame, behaviors: Iterable[Behavior]) -> pd.DataFrame:
    """What changed per kind, group, condition and flag; `part` is its share of the prompts."""
    by_model = {
        model: rows.set_index(CELL)[["rate", "low", "high", "n", "n_prompts"]]
        for model, rows in changes.groupby("model")
    }
    if by_model.keys() < {"reference", "policy"}:
        return pd.DataFrame(columns=[*CELL, "size", "weight", "part", *COLUMNS[5:]])
    before = by_model["reference"].rename(columns=_named("reference"))
    after = by_model["policy"].rename(columns=_named("policy"))
    cells = after.join(before.drop(columns=["n", "n_prompts"]), how="inner").reset_index()
    cells = cells[cells["policy"].notna() & cells["reference"].notna()].copy()
    change = cells["policy"] - cells["reference"]
    wanted = {(b.flag, b.group, b.condition): b.wanted for b in behaviors}
    keys = zip(cells["flag"], cells["group"], cells["condition"], strict=True)
    cells["verdict"] = [
        _verdict(wanted.get(key), up) for key, up in zip(keys, change.gt(0).tolist(), strict=True)
    ]
    cells["weight"] = cells["verdict"].map({"unwanted": 1.0, "not judged": UNKNOWN, "wanted": 0.0})
    cells["size"] = change.abs()
    of_kind = cells.drop_duplicates(CELL[:3]).groupby("prompt_cluster")["n_prompts"].sum()
    cells["part"] = cells["n_prompts"] / cells["prompt_cluster"].map(of_kind)
    return cells


def _verdict(wanted: bool | None, up: bool) -> str:
    """What the project says of a flag that went up, or down."""
    if wanted is None:
        return "not judged"
    return "wanted" if wanted == up else "unwanted"


def _named(model: str) -> dict[str, str]:
    return {"rate": model, "low": f"{model}_low", "high": f"{model}_high"}
