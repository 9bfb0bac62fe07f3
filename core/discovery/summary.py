"""A row per cluster: words, examples, sources, statistics; and the run in a few numbers.

A discover run's tables, heatmap and summary, as files (docs/architecture.md).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.data.pair_table import PairColumns
from core.discovery.cluster_stats import cluster_push, push_statistics
from core.discovery.cluster_terms import describe
from core.discovery.clustering import medoids
from core.discovery.heatmap import heatmap
from core.discovery.matrix import Matrix
from core.discovery.pipeline import Found
from core.discovery.projection import subset
from core.runs.workers import Call

READ = 30_000  # pairs whose words are counted at most, as many of each cluster as of any other
EXAMPLES = 3  # of a cluster's boundary


def describe_clusters(matrix: Matrix, found: Found, pairs: PairColumns, call: Call) -> pd.DataFrame:
    """clusters.parquet; of `pairs` the texts of `READ` are read, not those of all."""
    labels, uids = found.labels(matrix), matrix.uids[matrix.pair_defined]
    read = subset(labels, READ, 0)
    texts = pairs.rows(pairs.positions(uids[read]))
    words = ["prompt", "chosen", "rejected", "source"]
    table = call("words of the clusters", describe, texts[words], labels[read])
    table = table.set_index("cluster")
    table["size"] = pd.Series(labels).value_counts().reindex(table.index)
    table["share"] = table["size"] / len(labels)
    central = medoids(found.features.points, labels)
    table["medoid_uid"] = pd.Series(uids[central.to_numpy()], index=central.index, dtype=object)
    table["boundary_uids"] = boundary(found.pairs[matrix.pair_defined]).reindex(table.index)
    means = cluster_push(matrix, labels, table.index.tolist())
    pushes = pd.DataFrame([most_pushed(matrix, row) for row in means], table.index)
    statistics = push_statistics(matrix, labels, found.kinds).set_index("cluster")
    return table.join(pushes).join(statistics).reset_index()


def boundary(pairs: pd.DataFrame) -> pd.Series:
    """The pairs that belong to each cluster least, comma-separated: where it ends."""
    weakest = pairs[pairs["cluster"] >= 0].sort_values("strength", kind="stable")
    return weakest.groupby("cluster")["uid"].apply(lambda uids: ",".join(uids.head(EXAMPLES)))


def most_pushed(matrix: Matrix, means: NDArray[np.float64]) -> dict[str, Any]:
    """Mean entry over some pairs, overall and for the group of prompts where it is largest."""
    rows = matrix.prompts[matrix.prompt_defined]
    mean = pd.Series(means, index=rows.index)
    groups = mean.groupby([rows["group"], rows["condition"]]).mean().reset_index(name="mean")
    top = groups.iloc[groups["mean"].argmax()]
    return {
        "mean_similarity": float(mean.mean()),
        "top_group": str(top["group"]),
        "top_condition": str(top["condition"]),
        "top_group_similarity": float(top["mean"]),
    }


def summarise(matrix: Matrix, found: Found) -> dict[str, Any]:
    """summary.json."""
    pairs, prompts = found.pairs, found.prompts
    return {
        "n_pairs": len(pairs),
        "n_pairs_undefined": int((~matrix.pair_defined).sum()),
        "n_pairs_attributed": int(found.features.attributed.sum()),
        "n_pairs_laid_out": int(pairs["laid_out"].sum()),
        "n_prompts": len(prompts),
        "n_prompts_undefined": int((~matrix.prompt_defined).sum()),
        "n_clusters": int(pairs["cluster"].max() + 1),
        "n_islands": int(pairs["island"].max() + 1),
        "noise_share": float(pairs["cluster"].eq(-1).mean()),
        "n_prompt_clusters": int(prompts["cluster"].max() + 1),
    }


def write(
    output: Path,
    tables: Mapping[str, pd.DataFrame],
    summary: Mapping[str, Any],
    matrix: Matrix,
    found: Found,
    *,
    seed: int,
) -> None:
    """Write `<name>.parquet` of every table, `heatmap.npz` and `summary.json`.

    `seed` draws the pairs and prompts of a heatmap that cannot hold all.
    """
    for name, table in tables.items():
        table.to_parquet(output / f"{name}.parquet", index=False)
    drawing: dict[str, Any] = heatmap(
        matrix, found.features.points, found.labels(matrix), found.kinds.labels, seed
    )
    np.savez_compressed(output / "heatmap.npz", **drawing)
    (output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
