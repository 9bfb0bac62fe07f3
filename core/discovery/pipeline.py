"""The discovery pipeline: from the matrix to prompt clusters, clusters of pairs, maps and files.

Clusters come from the scores on prompt clusters; the map is a picture of them, on which HDBSCAN
finds clusters of its own (column `island`). Knows no texts, judge or truth.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.discovery.clustering import Clustering, Tree, by_size, find_clusters, merge_parallel
from core.discovery.features import Features, pair_features, prompt_features
from core.discovery.heatmap import leaf_order
from core.discovery.matrix import Floats, Matrix
from core.discovery.projection import Embedding, balanced_sample, embed
from core.discovery.prompt_clusters import Labels, PromptClusters, find_prompt_clusters
from core.discovery.refine import Refine
from core.runs.progress import Report
from core.runs.workers import Call
from core.specs.steps import DiscoverSpec

MOST_REPEATED = 5_000  # pairs that are embedded again with another seed


class Repeats(NamedTuple):
    """Pairs embedded with several seeds, the map's own first; fields as in again.npz."""

    rows: Labels  # (pair,) which rows of pairs.parquet
    places: Floats  # (seed, pair, 2); no seed where nothing is repeated

    def clusterings(self, spec: DiscoverSpec, call: Call) -> list[Clustering]:
        """HDBSCAN's clusters and tree for each seed."""
        size = smallest_cluster(spec, len(self.rows))
        return [call("clustering", find_clusters, places, size) for places in self.places]


@dataclass(frozen=True)
class Discovery:
    """What a discover run found; tables as in docs/architecture.md."""

    prompt_clusters: PromptClusters
    features: Features
    pairs: pd.DataFrame
    prompts: pd.DataFrame
    tree: Tree

    def labels(self, matrix: Matrix) -> Labels:
        """(defined pair,) cluster."""
        labels: Labels = self.pairs["cluster"].to_numpy()[matrix.pair_defined]
        return labels

    def repeat(self, spec: DiscoverSpec, matrix: Matrix, call: Call, *, repeats: int) -> Repeats:
        """A sample of attributed pairs embedded again, with the map's own seed and with others."""
        attributed = np.flatnonzero(self.features.attributed)
        groups = self.prompt_clusters.strongest()[attributed]
        sampled = attributed[balanced_sample(groups, MOST_REPEATED, spec.seed)]
        points = self.features.points[sampled]
        seeds = range(spec.seed, spec.seed + repeats + 1 if repeats else spec.seed)
        places = [_embed(points, spec, call, seed=seed).coordinates for seed in seeds]
        shape = (len(places), len(sampled), 2)
        rows = np.flatnonzero(matrix.pair_defined)[sampled]
        return Repeats(rows, np.array(places, np.float32).reshape(shape))

    def summary(self, matrix: Matrix) -> dict[str, Any]:
        """Counts for summary.json."""
        pairs, prompts = self.pairs, self.prompts
        return {
            "n_pairs": len(pairs),
            "n_pairs_undefined": int((~matrix.pair_defined).sum()),
            "n_pairs_attributed": int(self.features.attributed.sum()),
            "n_pairs_laid_out": int(pairs["laid_out"].sum()),
            "n_prompts": len(prompts),
            "n_prompts_undefined": int((~matrix.prompt_defined).sum()),
            "n_clusters": int(pairs["cluster"].max() + 1),
            "n_islands": int(pairs["island"].max() + 1),
            "noise_share": float(pairs["cluster"].eq(-1).mean()),
            "n_prompt_clusters": int(prompts["cluster"].max() + 1),
        }

    def write(
        self, output: Path, tables: Mapping[str, pd.DataFrame], summary: Mapping[str, Any]
    ) -> None:
        """Write `<name>.parquet` of every table, and `summary.json`."""
        for name, table in {"pairs": self.pairs, "prompts": self.prompts, **tables}.items():
            table.to_parquet(output / f"{name}.parquet", index=False)
        text = json.dumps(summary, indent=2) + "\n"
        (output / "summary.json").write_text(text, encoding="utf-8")


def analyse(
    matrix: Matrix, spec: DiscoverSpec, call: Call, report: Report, *, refine: Refine
) -> Discovery:
    """All that a discover run finds in a matrix; `report(done, total)` counts embedded pairs."""
    clusters = refine(matrix, find_prompt_clusters(matrix, spec.kinds))
    features = pair_features(matrix, clusters)
    groups = clusters.strongest()
    embedding = _embed(
        features.points, spec, call, groups=groups, most=spec.laid_out, report=report
    )
    pairs, tree = _pairs(matrix, features, clusters, embedding, spec, call)
    prompts = _prompts(matrix, features, clusters, spec, call)
    return Discovery(clusters, features, pairs, prompts, tree)


def smallest_cluster(spec: DiscoverSpec, n_pairs: int) -> int:
    """Pairs that a cluster of HDBSCAN needs: 41 of 3,000, 461 of 378,000."""
    return spec.min_cluster_size or max(int(0.75 * np.sqrt(n_pairs)), 5)


def membership_strength(scores: Floats, labels: Labels) -> Floats:
    """(pair,) score over the largest of its cluster, in [0, 1]; 0 for noise."""
    largest = pd.Series(scores).groupby(labels).transform("max").to_numpy()
    strength: Floats = np.where(labels >= 0, scores / np.where(largest > 0, largest, 1), 0)
    return strength.astype(np.float32)


def _embed(
    points: Floats, spec: DiscoverSpec, call: Call, *, seed: int | None = None, **options: Any
) -> Embedding:
    """Points embedded with a discover run's settings."""
    return embed(
        points,
        neighbors=spec.neighbors,
        min_dist=spec.min_dist,
        seed=spec.seed if seed is None else seed,
        call=call,
        **options,
    )


def _pairs(
    matrix: Matrix,
    features: Features,
    clusters: PromptClusters,
    embedding: Embedding,
    spec: DiscoverSpec,
    call: Call,
) -> tuple[pd.DataFrame, Tree]:
    """pairs.parquet. Unattributed pairs are in no cluster; undefined ones have no place either."""
    attributed, places = features.attributed, embedding.coordinates
    size = smallest_cluster(spec, len(places))
    labels, strength, tree = call("clustering", find_clusters, places[attributed], size)

    def spread(values: NDArray[Any], missing: float) -> NDArray[Any]:
        everywhere = np.full(len(places), missing, values.dtype)
        everywhere[attributed] = values
        return everywhere

    density_cluster, scores = spread(labels, -1), _top_scores(clusters)
    if spec.cluster_by == "push":
        cluster = by_size(clusters.strongest())
        strength = membership_strength(scores, cluster)
    else:
        cluster, strength = merge_parallel(features.points, density_cluster), spread(strength, 0)
    columns: dict[str, NDArray[Any]] = {"x": places[:, 0], "y": places[:, 1], "push": scores}
    columns |= {"strength": strength, "cluster": cluster, "island": density_cluster}
    columns |= {"leaf": spread(tree.leaf, -1), "leaves": spread(tree.leaves, 0)}
    columns["place"] = leaf_order(features.points)
    table = _with_undefined(matrix.uids, matrix.pair_defined, columns)
    table["laid_out"] = False
    table.loc[matrix.pair_defined, "laid_out"] = embedding.embedded
    return table, tree


def _prompts(
    matrix: Matrix, features: Features, clusters: PromptClusters, spec: DiscoverSpec, call: Call
) -> pd.DataFrame:
    """prompts.parquet: prompts on which the same pairs act have near places."""
    points = prompt_features(matrix, features.attributed)
    places = _embed(points, spec, call).coordinates
    columns: dict[str, NDArray[Any]] = {"x": places[:, 0], "y": places[:, 1]}
    columns["cluster"] = clusters.labels
    columns["change"] = matrix.weights[matrix.prompt_defined]
    columns["place"] = leaf_order(points)
    names = ["prompt_id", "condition", "group"]
    table = _with_undefined(matrix.prompts.index.to_numpy(), matrix.prompt_defined, columns)
    return pd.concat([matrix.prompts[names], table.drop(columns="uid")], axis=1)


def _top_scores(clusters: PromptClusters) -> Floats:
    """(pair,) score on the strongest prompt cluster, or the highest where a pair acts on none."""
    if not len(clusters.scores):
        return np.zeros(clusters.scores.shape[1], np.float32)
    strongest = clusters.strongest()
    cluster = np.where(strongest >= 0, strongest, clusters.scores.argmax(axis=0))
    scores: Floats = clusters.scores[cluster, np.arange(len(cluster))]
    return scores


def _with_undefined(
    names: NDArray[Any], defined: NDArray[np.bool_], columns: dict[str, NDArray[Any]]
) -> pd.DataFrame:
    """All rows: those without a vector get no place, no cluster and no strength."""
    table: dict[str, NDArray[Any]] = {"uid": names}
    for name, values in columns.items():
        missing = -1 if np.issubdtype(values.dtype, np.integer) else np.nan
        table[name] = np.full(len(defined), missing, values.dtype)
        table[name][defined] = values
    return pd.DataFrame(table)
