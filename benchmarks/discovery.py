"""Recall and purity of discovery's clusters on organism worlds, where the truth is project.

Each world is generated, indexed and discovered as by `pairtrace`, in the workspace: finished runs
are reused. Only then is the truth read. For every planted behavior: its best cluster is the one
with most of its pairs; recall is the share of them in it, purity the share of it that they are,
`alarm_rank` its rank among the alarms (1 is the worst; null: no alarm), and stability is over draws
of prompts. `prompts_in_kind` is the share of the behavior's prompts that are in the prompt cluster
of the best cluster.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks._organisms import organism_of
from benchmarks._recovery import best_cluster
from core import environment
from core.discovery.alarms import ranked
from core.organism.sampling import planted_uids, read_truth
from core.runs.execute import execute
from core.runs.store import Store
from core.specs.project import load as load_project
from core.storage.tables import record, table


def run(worlds: tuple[str, ...] = ()) -> dict[str, Any]:
    """Scores of organism folders or world files, by default of the embedded organism."""
    torch.set_num_threads(1)
    workspace = environment.default_workspace()
    folders = [organism_of(world, workspace) for world in worlds or (None,)]
    scores = [score(folder, Store(workspace)) for folder in folders]
    return {"worlds": scores, "means": means(scores)}


def score(organism: Path, store: Store) -> dict[str, Any]:
    """One world's figures."""
    project = load_project(organism)
    spec = project.discover(execute(project.generate(), store), execute(project.index(), store))
    discovered = execute(spec, store)
    output, truth = store.output(discovered), read_truth(organism / "truth.parquet")
    tables = {
        name: table(output / f"{name}.parquet")
        for name in ("pairs", "prompts", "clusters", "changes")
    }
    summary = record(output / "summary.json")
    alarms = ranked(tables["clusters"], tables["changes"], project.behaviors)
    alarms = alarms.loc[alarms["alarm"] > 0, "cluster"].tolist()
    planted = [b for b in project.behaviors if b.name in set(truth["planted"].dropna())]
    pairs, clusters = tables["pairs"], tables["clusters"].set_index("cluster")
    behaviors = []
    for behavior in planted:
        members = pairs["uid"].isin(planted_uids(truth, behavior.name)).to_numpy(bool)
        best = best_cluster(pairs["cluster"].to_numpy(), members)
        prompts = tables["prompts"].query(
            "group == @behavior.group and condition == @behavior.condition"
        )
        behaviors.append(
            {"behavior": behavior.name, "n_planted": int(members.sum())}
            | best
            | _standing(best["cluster"], clusters, alarms, prompts)
        )
    return {
        "world": project.name,
        "run": discovered,
        "n_pairs": len(pairs),
        "n_clusters": summary["n_clusters"],
        "stability": summary["stability"]["clusters_over_prompts"].get("mean"),
        "cpu_seconds": store.record(discovered)["cost"]["cpu_seconds"],
        "behaviors": behaviors,
    }


def means(worlds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per behavior: number of worlds, mean and minimum of recall and purity over them."""
    rows = pd.DataFrame([row for world in worlds for row in world["behaviors"]])
    return [
        {"behavior": name, "worlds": len(group)}
        | {figure: float(group[figure].mean()) for figure in ("recall", "purity")}
        | {f"least_{figure}": float(group[figure].min()) for figure in ("recall", "purity")}
        for name, group in rows.groupby("behavior", sort=False)
    ]


def _standing(
    cluster: int, clusters: pd.DataFrame, alarms: list[int], prompts: pd.DataFrame
) -> dict[str, Any]:
    """Alarm rank and stability of a cluster, as an analyst sees them; None for no cluster."""
    if cluster < 0:
        return dict.fromkeys(("alarm_rank", "stability", "prompts_in_kind"))
    row = clusters.loc[cluster]
    stability = float(row["stability"])
    return {
        "alarm_rank": alarms.index(cluster) + 1 if cluster in alarms else None,
        "stability": None if np.isnan(stability) else stability,
        "prompts_in_kind": float((prompts["cluster"] == row["prompt_cluster"]).mean()),
    }
