"""Does discovery find what was planted, without labels or the truth? Scored on organism worlds.

Each world is generated, indexed and discovered as `pairtrace` does it, in the workspace: what is
done there is not done again. Only then is the truth read. For every planted behavior: its best
cluster is the one that holds most of its pairs, with the share of them that it holds (recall), the
share of the cluster that they are (purity), its place among the alarms (1 is the worst; null: no
alarm), and its stability over draws of prompts. `prompts_in_kind` is the share of the behavior's
own prompts that fall into the kind that the best cluster pushes.
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
from core.organism.truth import planted_uids, read_truth
from core.runs.execute import execute
from core.runs.store import Store
from core.specs import project
from core.storage.tables import record, table


def run(worlds: tuple[str, ...] = ()) -> dict[str, Any]:
    """Scores of some worlds (organism folders or world files), of the embedded one by default."""
    torch.set_num_threads(1)
    workspace = environment.default_workspace()
    folders = [organism_of(world, workspace) for world in worlds or (None,)]
    found = [score(folder, Store(workspace)) for folder in folders]
    return {"worlds": found, "means": means(found)}


def score(organism: Path, store: Store) -> dict[str, Any]:
    """One world's figures."""
    known = project.load(organism)
    spec = known.discover(execute(known.generate(), store), execute(known.index(), store))
    discovered = execute(spec, store)
    output, truth = store.output(discovered), read_truth(organism / "truth.parquet")
    tables = {
        name: table(output / f"{name}.parquet")
        for name in ("pairs", "prompts", "clusters", "changes")
    }
    summary = record(output / "summary.json")
    alarms = ranked(tables["clusters"], tables["changes"], known.behaviors)["cluster"].tolist()
    planted = [b for b in known.behaviors if b.name in set(truth["planted"].dropna())]
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
        "world": known.name,
        "run": discovered,
        "n_pairs": len(pairs),
        "n_clusters": summary["n_clusters"],
        "stability": summary["stability"]["clusters_over_prompts"].get("mean"),
        "cpu_seconds": store.record(discovered)["cost"]["cpu_seconds"],
        "behaviors": behaviors,
    }


def means(worlds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per behavior: mean and least of recall and purity over the worlds; and how many there are."""
    rows = pd.DataFrame([one for world in worlds for one in world["behaviors"]])
    return [
        {"behavior": name, "worlds": len(own)}
        | {figure: float(own[figure].mean()) for figure in ("recall", "purity")}
        | {f"least_{figure}": float(own[figure].min()) for figure in ("recall", "purity")}
        for name, own in rows.groupby("behavior", sort=False)
    ]


def _standing(
    cluster: int, clusters: pd.DataFrame, alarms: list[int], prompts: pd.DataFrame
) -> dict[str, Any]:
    """What an analyst would see of a cluster; nothing where it is no cluster."""
    if cluster < 0:
        return dict.fromkeys(("alarm_rank", "stability", "prompts_in_kind"))
    own = clusters.loc[cluster]
    stability = float(own["stability"])
    return {
        "alarm_rank": alarms.index(cluster) + 1 if cluster in alarms else None,
        "stability": None if np.isnan(stability) else stability,
        "prompts_in_kind": float((prompts["cluster"] == own["prompt_cluster"]).mean()),
    }
