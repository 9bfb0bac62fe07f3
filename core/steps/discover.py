"""Map and cluster the behavior–datapoint matrix: what did training change, nobody having asked?"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.attribution.index import VectorIndex
from core.data.pairs import read_pairs
from core.discovery.changes import changes
from core.discovery.clusters import by_size, find_clusters, medoids, merge_parallel
from core.discovery.features import Features, pair_features, prompt_features
from core.discovery.kinds import Kinds, find_kinds
from core.discovery.labels import describe
from core.discovery.matrix import Matrix, build_matrix
from core.discovery.projection import project
from core.discovery.statistics import cluster_push, push_statistics, sources
from core.runs.progress import Progress
from core.runs.specs import DiscoverSpec, IndexSpec
from core.runs.store import Store
from core.steps.rank import matching_index, read

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
STAGES = 6


def run(spec: DiscoverSpec, *, store: Store, output: Path, progress: Progress) -> None:
    """Write maps, clusters, matrix and summary (docs/architecture.md)."""
    index = matching_index(spec, store)
    layer = default_layer(index) if spec.layer is None else spec.layer
    completions = pd.read_parquet(store.output(spec.generate) / "completions.parquet")
    readings = read(spec, store, index, completions, progress, layers=(layer,))
    matrix = build_matrix(
        index,
        readings,
        layer,
        gated=spec.gated,
        path=output / "matrix.npy",
        report=lambda done, total: progress(done, total, "matrix of prompts and pairs"),
    )
    progress(1, STAGES, "kinds of prompts")
    kinds = find_kinds(matrix, spec.kinds)
    features = pair_features(matrix, kinds)
    progress(2, STAGES, f"map of {int(matrix.pair_defined.sum())} pairs")
    pairs = map_pairs(matrix, features, kinds, spec)
    progress(3, STAGES, f"map of {int(matrix.prompt_defined.sum())} prompts")
    prompts = map_prompts(matrix, features, kinds, spec)
    progress(4, STAGES, "words of the clusters")
    texts = _texts(spec, store).loc[matrix.uids.tolist()]
    tables = {
        "pairs": pairs,
        "prompts": prompts,
        "clusters": describe_clusters(matrix, features, kinds, pairs, texts),
        "sources": sources(pairs["cluster"].to_numpy(), texts["source"]),
        "changes": changes(completions, prompts),
    }
    progress(5, STAGES, "writing")
    for name, table in tables.items():
        table.to_parquet(output / f"{name}.parquet", index=False)
    summary = summarise(matrix, features, pairs, prompts)
    summary |= {"layer": layer, "n_completions_empty": readings.n_empty}
    (output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    progress(STAGES, STAGES, f"{summary['n_clusters']} clusters")


def default_layer(index: VectorIndex) -> int:
    """Three quarters up the index, where streams say what a text does rather than its words."""
    return index.layers[len(index.layers) * 3 // 4]


def smallest_island(spec: DiscoverSpec, n_pairs: int) -> int:
    """Pairs that an island needs: 41 of 3,000, 461 of 378,000."""
    return spec.min_cluster_size or max(int(0.75 * np.sqrt(n_pairs)), 5)


def map_pairs(matrix: Matrix, features: Features, kinds: Kinds, spec: DiscoverSpec) -> pd.DataFrame:
    """pairs.parquet. Unattributed pairs are in no cluster; undefined ones have no place either."""
    place = project(
        features.points, neighbors=spec.neighbors, min_dist=spec.min_dist, seed=spec.seed
    )
    island = np.full(len(place), -1, np.int64)
    dense = np.zeros(len(place), np.float32)
    island[features.attributed], dense[features.attributed] = find_clusters(
        place[features.attributed], smallest_island(spec, len(place))
    )
    push = _own_push(kinds)
    if spec.cluster_by == "push":
        cluster, strength = by_size(kinds.hardest()), _within(push, by_size(kinds.hardest()))
    else:
        cluster, strength = merge_parallel(features.points, island), dense
    columns: dict[str, NDArray[Any]] = {"x": place[:, 0], "y": place[:, 1], "push": push}
    columns |= {"strength": strength, "cluster": cluster, "island": island}
    return _with_undefined(matrix.uids, matrix.pair_defined, columns)


def map_prompts(
    matrix: Matrix, features: Features, kinds: Kinds, spec: DiscoverSpec
) -> pd.DataFrame:
    """prompts.parquet: prompts that the same pairs push lie together."""
    points = prompt_features(matrix, features.attributed)
    place = project(points, neighbors=spec.neighbors, min_dist=spec.min_dist, seed=spec.seed)
    columns: dict[str, NDArray[Any]] = {"x": place[:, 0], "y": place[:, 1]}
    columns["cluster"] = kinds.labels
    columns["change"] = matrix.weights[matrix.prompt_defined]
    names = ["prompt_id", "condition", "group"]
    placed = _with_undefined(matrix.prompts.index.to_numpy(), matrix.prompt_defined, columns)
    return pd.concat([matrix.prompts[names], placed.drop(columns="uid")], axis=1)


def describe_clusters(
    matrix: Matrix,
    features: Features,
    kinds: Kinds,
    pairs: pd.DataFrame,
    texts: pd.DataFrame,
) -> pd.DataFrame:
    """clusters.parquet: size, words, source, examples, and how far a cluster pushes what."""
    labels = pairs["cluster"].to_numpy()[matrix.pair_defined]
    uids = matrix.uids[matrix.pair_defined]
    table = describe(texts[matrix.pair_defined], labels).set_index("cluster")
    central = medoids(features.points, labels)
    table["medoid_uid"] = pd.Series(uids[central.to_numpy()], index=central.index, dtype=object)
    table["boundary_uids"] = boundary(pairs, matrix.pair_defined).reindex(table.index)
    means = cluster_push(matrix, labels, table.index.tolist())
    pushes = pd.DataFrame([most_pushed(matrix, row) for row in means], table.index)
    statistics = push_statistics(matrix, labels, kinds).set_index("cluster")
    return table.join(pushes).join(statistics).reset_index()


def boundary(pairs: pd.DataFrame, defined: NDArray[np.bool_], count: int = 3) -> pd.Series:
    """The pairs that belong to each cluster least, comma-separated: where it ends."""
    weakest = pairs[defined & (pairs["cluster"] >= 0)].sort_values("strength", kind="stable")
    return weakest.groupby("cluster")["uid"].apply(lambda uids: ",".join(uids.head(count)))


def most_pushed(matrix: Matrix, means: NDArray[np.float64]) -> dict[str, Any]:
    """Mean entry over some pairs, overall and for the kind of prompts where it is largest."""
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


def summarise(
    matrix: Matrix, features: Features, pairs: pd.DataFrame, prompts: pd.DataFrame
) -> dict[str, Any]:
    """summary.json."""
    return {
        "n_pairs": len(pairs),
        "n_pairs_undefined": int((~matrix.pair_defined).sum()),
        "n_pairs_attributed": int(features.attributed.sum()),
        "n_prompts": len(prompts),
        "n_prompts_undefined": int((~matrix.prompt_defined).sum()),
        "n_clusters": int(pairs["cluster"].max() + 1),
        "noise_share": float(pairs["cluster"].eq(-1).mean()),
        "n_prompt_clusters": int(prompts["cluster"].max() + 1),
    }


def _own_push(kinds: Kinds) -> Floats:
    """(pair,) push on the kind that a pair moves furthest, or on whichever it pushes most."""
    if not len(kinds.push):
        return np.zeros(kinds.push.shape[1], np.float32)
    kind = np.where(kinds.hardest() >= 0, kinds.hardest(), kinds.push.argmax(axis=0))
    own: Floats = kinds.push[kind, np.arange(len(kind))]
    return own


def _within(push: Floats, labels: Labels) -> Floats:
    """How firmly a pair belongs, in [0, 1]: its push over the largest of its cluster."""
    largest = pd.Series(push).groupby(labels).transform("max").to_numpy()
    firm: Floats = np.where(labels >= 0, push / np.where(largest > 0, largest, 1), 0)
    return firm.astype(np.float32)


def _with_undefined(
    names: NDArray[Any], defined: NDArray[np.bool_], columns: dict[str, NDArray[Any]]
) -> pd.DataFrame:
    """All points: those without a vector get no place, no cluster and no strength."""
    whole: dict[str, NDArray[Any]] = {"uid": names}
    for name, values in columns.items():
        missing = -1 if np.issubdtype(values.dtype, np.integer) else np.nan
        whole[name] = np.full(len(defined), missing, values.dtype)
        whole[name][defined] = values
    return pd.DataFrame(whole)


def _texts(spec: DiscoverSpec, store: Store) -> pd.DataFrame:
    """The pairs behind the index, by uid."""
    index = store.spec(spec.index)
    assert isinstance(index, IndexSpec)
    return read_pairs(store.pairs(index.pairs)).pairs.set_index("uid")
