"""Map and cluster the behavior–datapoint matrix: what did training change, nobody having asked?"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.attribution.index import VectorIndex
from core.data.pairs import read_pairs
from core.discovery.clusters import find_clusters, medoids, merge_parallel
from core.discovery.labels import describe
from core.discovery.matrix import Features, Matrix, build_matrix, pair_features, prompt_features
from core.discovery.projection import project
from core.runs.progress import Progress
from core.runs.specs import DiscoverSpec, IndexSpec
from core.runs.store import Store
from core.steps.rank import matching_index, read

Floats = NDArray[np.float32]
STAGES = 5
FEWEST_PROMPTS = 4  # in a cluster of prompts


def run(spec: DiscoverSpec, *, store: Store, output: Path, progress: Progress) -> None:
    """Write maps, clusters, matrix and summary (docs/architecture.md)."""
    index = matching_index(spec, store)
    layer = default_layer(index) if spec.layer is None else spec.layer
    completions = pd.read_parquet(store.output(spec.generate) / "completions.parquet")
    readings = read(spec, store, index, completions, progress, layers=(layer,))
    progress(1, STAGES, "matrix of prompts and pairs")
    matrix = build_matrix(index, readings, layer, gated=spec.gated)
    np.save(output / "matrix.npy", matrix.values)
    progress(2, STAGES, f"map of {int(matrix.pair_defined.sum())} pairs")
    features = pair_features(matrix)
    pairs = map_pairs(matrix, features, spec)
    progress(3, STAGES, f"map of {int(matrix.prompt_defined.sum())} prompts")
    prompts = map_prompts(matrix, features, spec)
    progress(4, STAGES, "words of the clusters")
    texts = _texts(spec, store).loc[matrix.uids.tolist()]
    clusters = describe_clusters(matrix, features, pairs, texts)
    pairs.to_parquet(output / "pairs.parquet", index=False)
    prompts.to_parquet(output / "prompts.parquet", index=False)
    clusters.to_parquet(output / "clusters.parquet", index=False)
    summary = summarise(matrix, features, pairs, prompts)
    summary |= {"layer": layer, "n_completions_empty": readings.n_empty}
    (output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    progress(STAGES, STAGES, f"{summary['n_clusters']} clusters")


def default_layer(index: VectorIndex) -> int:
    """Three quarters up the index, where streams say what a text does rather than its words."""
    return index.layers[len(index.layers) * 3 // 4]


def map_pairs(matrix: Matrix, features: Features, spec: DiscoverSpec) -> pd.DataFrame:
    """pairs.parquet. Unattributed pairs are in no cluster; undefined ones have no place either."""
    place = project(
        features.points, neighbors=spec.neighbors, min_dist=spec.min_dist, seed=spec.seed
    )
    island = np.full(len(place), -1, np.int64)
    strength = np.zeros(len(place), np.float32)
    island[features.attributed], strength[features.attributed] = find_clusters(
        place[features.attributed], spec.min_cluster_size
    )
    cluster = merge_parallel(features.points, island)
    columns = _with_undefined(matrix.pair_defined, place, cluster, strength)
    columns["island"] = np.full(len(matrix.uids), -1, np.int64)
    columns["island"][matrix.pair_defined] = island
    return pd.DataFrame({"uid": matrix.uids} | columns)


def map_prompts(matrix: Matrix, features: Features, spec: DiscoverSpec) -> pd.DataFrame:
    """prompts.parquet: prompts that the same pairs push lie together."""
    points = prompt_features(matrix, features.attributed)
    place = project(points, neighbors=spec.neighbors, min_dist=spec.min_dist, seed=spec.seed)
    island, strength = find_clusters(place, max(FEWEST_PROMPTS, len(place) // 20))
    cluster = merge_parallel(points, island)
    columns = _with_undefined(matrix.prompt_defined, place, cluster, strength)
    columns.pop("strength")
    return matrix.prompts[["prompt_id", "condition", "group"]].assign(**columns)


def describe_clusters(
    matrix: Matrix, features: Features, pairs: pd.DataFrame, texts: pd.DataFrame
) -> pd.DataFrame:
    """clusters.parquet: size, words, source, medoid, and the prompts that a cluster drives most."""
    labels = pairs["cluster"].to_numpy()[matrix.pair_defined]
    uids = matrix.uids[matrix.pair_defined]
    table = describe(texts[matrix.pair_defined], labels).set_index("cluster")
    central = medoids(features.points, labels)
    table["medoid_uid"] = pd.Series(uids[central.to_numpy()], index=central.index, dtype=object)
    pushes = pd.DataFrame([most_pushed(matrix, labels == c) for c in table.index], table.index)
    return table.join(pushes).reset_index()


def most_pushed(matrix: Matrix, members: NDArray[np.bool_]) -> dict[str, Any]:
    """Mean entry over some pairs, overall and for the kind of prompts where it is largest."""
    rows = matrix.prompts[matrix.prompt_defined]
    mean = pd.Series(matrix.defined[:, members].mean(axis=1), index=rows.index)
    kinds = mean.groupby([rows["group"], rows["condition"]]).mean().reset_index(name="mean")
    top = kinds.iloc[kinds["mean"].argmax()]
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


def _with_undefined(
    defined: NDArray[np.bool_], place: Floats, cluster: NDArray[np.int64], strength: Floats
) -> dict[str, NDArray[Any]]:
    """Columns over all points: those without a vector get no place, no cluster and no strength."""
    x, y, held = (np.full(len(defined), np.nan, np.float32) for _ in range(3))
    label = np.full(len(defined), -1, np.int64)
    x[defined], y[defined], held[defined], label[defined] = *place.T, strength, cluster
    return {"x": x, "y": y, "cluster": label, "strength": held}


def _texts(spec: DiscoverSpec, store: Store) -> pd.DataFrame:
    """The pairs behind the index, by uid."""
    index = store.spec(spec.index)
    assert isinstance(index, IndexSpec)
    return read_pairs(store.pairs(index.pairs)).pairs.set_index("uid")
