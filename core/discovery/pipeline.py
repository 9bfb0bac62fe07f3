"""From the matrix to everything that is found in it: kinds, clusters, places, islands and tree.

Clusters come from the pushes; the map is a picture of them, laid out for at most a given number of
pairs, and its islands are HDBSCAN's. Knows no texts, judge or truth.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.discovery.clustering import Islands, find_clusters, merge_parallel
from core.discovery.condensed_tree import Tree, by_size
from core.discovery.features import Features, pair_features, prompt_features
from core.discovery.heatmap import places
from core.discovery.matrix import Matrix
from core.discovery.projection import Placed, project, subset
from core.discovery.prompt_clusters import Kinds, find_prompt_clusters
from core.discovery.refine import Sharpen
from core.runs.workers import Call

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
Report = Callable[[int, int], None]
AGAIN = 5_000  # pairs that are laid out again with another seed


class Knobs(Protocol):
    """The knobs of a discover spec that this needs."""

    @property
    def kinds(self) -> int: ...
    @property
    def cluster_by(self) -> str: ...
    @property
    def neighbors(self) -> int: ...
    @property
    def min_dist(self) -> float: ...
    @property
    def min_cluster_size(self) -> int | None: ...
    @property
    def laid_out(self) -> int: ...
    @property
    def seed(self) -> int: ...


class Again(NamedTuple):
    """Pairs laid out with several seeds, the map's own first: what a cut is compared with."""

    rows: Labels  # (pair,) which rows of pairs.parquet
    places: Floats  # (seed, pair, 2); no seed where nothing is to be repeated

    def islands(self, knobs: Knobs, call: Call) -> list[Islands]:
        """HDBSCAN's islands and tree for each seed."""
        size = smallest_cluster(knobs, len(self.rows))
        return [call("islands", find_clusters, place, size) for place in self.places]


@dataclass(frozen=True)
class Found:
    """What a discover run found; tables as in docs/architecture.md."""

    kinds: Kinds
    features: Features
    pairs: pd.DataFrame
    prompts: pd.DataFrame
    tree: Tree

    def labels(self, matrix: Matrix) -> Labels:
        """(defined pair,) cluster."""
        found: Labels = self.pairs["cluster"].to_numpy()[matrix.pair_defined]
        return found

    def again(self, knobs: Knobs, matrix: Matrix, call: Call, *, repeats: int) -> Again:
        """Some attributed pairs laid out once more, with the map's own seed and with others."""
        attributed = np.flatnonzero(self.features.attributed)
        groups = self.kinds.hardest()[attributed]
        chosen = attributed[subset(groups, AGAIN, knobs.seed)]
        points = self.features.points[chosen]
        places = [
            project(
                points, neighbors=knobs.neighbors, min_dist=knobs.min_dist, seed=seed, call=call
            ).place
            for seed in range(knobs.seed, knobs.seed + repeats + 1 if repeats else knobs.seed)
        ]
        shape = (len(places), len(chosen), 2)
        rows = np.flatnonzero(matrix.pair_defined)[chosen]
        return Again(rows, np.array(places, np.float32).reshape(shape))


def find(matrix: Matrix, knobs: Knobs, call: Call, report: Report, *, sharpen: Sharpen) -> Found:
    """Kinds, features, and both maps; `report(done, total)` counts pairs with known neighbours."""
    kinds = sharpen(matrix, find_prompt_clusters(matrix, knobs.kinds))
    features = pair_features(matrix, kinds)
    placed = project(
        features.points,
        neighbors=knobs.neighbors,
        min_dist=knobs.min_dist,
        seed=knobs.seed,
        groups=kinds.hardest(),
        most=knobs.laid_out,
        call=call,
        report=report,
    )
    pairs, tree = _pairs(matrix, features, kinds, placed, knobs, call)
    prompts = _prompts(matrix, features, kinds, knobs, call)
    return Found(kinds, features, pairs, prompts, tree)


def smallest_cluster(knobs: Knobs, n_pairs: int) -> int:
    """Pairs that an island needs: 41 of 3,000, 461 of 378,000."""
    return knobs.min_cluster_size or max(int(0.75 * np.sqrt(n_pairs)), 5)


def _pairs(
    matrix: Matrix, features: Features, kinds: Kinds, placed: Placed, knobs: Knobs, call: Call
) -> tuple[pd.DataFrame, Tree]:
    """pairs.parquet. Unattributed pairs are in no cluster; undefined ones have no place either."""
    own, place = features.attributed, placed.place
    size = smallest_cluster(knobs, len(place))
    islands = call("islands", find_clusters, place[own], size)
    island, leaf = (np.full(len(place), -1, np.int64) for _ in range(2))
    dense, leaves = np.zeros(len(place), np.float32), np.zeros(len(place))
    island[own], dense[own] = islands.labels, islands.strength
    leaf[own], leaves[own] = islands.tree.leaf, islands.tree.leaves
    push = _own_push(kinds)
    if knobs.cluster_by == "push":
        cluster = by_size(kinds.hardest())
        strength = firmness(push, cluster)
    else:
        cluster, strength = merge_parallel(features.points, island), dense
    columns: dict[str, NDArray[Any]] = {"x": place[:, 0], "y": place[:, 1], "push": push}
    columns |= {"strength": strength, "cluster": cluster, "island": island}
    columns |= {"leaf": leaf, "leaves": leaves, "place": places(features.points)}
    table = _with_undefined(matrix.uids, matrix.pair_defined, columns)
    table["laid_out"] = False
    table.loc[matrix.pair_defined, "laid_out"] = placed.laid_out
    return table, islands.tree


def _prompts(
    matrix: Matrix, features: Features, kinds: Kinds, knobs: Knobs, call: Call
) -> pd.DataFrame:
    """prompts.parquet: prompts that the same pairs push lie together."""
    points = prompt_features(matrix, features.attributed)
    place = project(
        points, neighbors=knobs.neighbors, min_dist=knobs.min_dist, seed=knobs.seed, call=call
    ).place
    columns: dict[str, NDArray[Any]] = {"x": place[:, 0], "y": place[:, 1]}
    columns["cluster"] = kinds.labels
    columns["change"] = matrix.weights[matrix.prompt_defined]
    columns["place"] = places(points)
    names = ["prompt_id", "condition", "group"]
    placed = _with_undefined(matrix.prompts.index.to_numpy(), matrix.prompt_defined, columns)
    return pd.concat([matrix.prompts[names], placed.drop(columns="uid")], axis=1)


def _own_push(kinds: Kinds) -> Floats:
    """(pair,) push on the kind that a pair moves furthest, or on whichever it pushes most."""
    if not len(kinds.push):
        return np.zeros(kinds.push.shape[1], np.float32)
    kind = np.where(kinds.hardest() >= 0, kinds.hardest(), kinds.push.argmax(axis=0))
    own: Floats = kinds.push[kind, np.arange(len(kind))]
    return own


def firmness(push: Floats, labels: Labels) -> Floats:
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
