"""A finished map with coarser or finer clusters: another cut of its tree.

Nothing is embedded again and no model is read: the clusters are the groups of HDBSCAN's tree that
exist at a distance on the map, and their tables are computed again from the matrix and the scores
that the earlier run saved. They are dense groups of the map, not one per prompt cluster. Their
stability is over the pairs that the earlier run embedded with other seeds, cut into as many groups.
"""

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from core.data.pair_table import PairColumns
from core.discovery.cluster_stats import ATTRIBUTION, read_attribution, source_enrichment
from core.discovery.cluster_table import cluster_table
from core.discovery.clustering import Tree, cut
from core.discovery.features import pair_features
from core.discovery.matrix import Matrix, assemble
from core.discovery.pipeline import Discovery, Repeats, membership_strength
from core.discovery.prompt_clusters import Labels, PromptClusters, thresholds
from core.discovery.stability import agreement, cut_into, recovered
from core.errors import UserError
from core.runs.workers import Call
from core.specs.steps import DiscoverSpec
from core.storage.tables import array, arrays, data_frame, record

SCORES = "pushes.npy"  # of a discover run: (prompt cluster, defined pair)
REPEATS = "again.npz"  # of a discover run: `pipeline.Repeats`
COPIED = ("tree.parquet", "changes.parquet")
LINKED = ("matrix.npy", SCORES, ATTRIBUTION, REPEATS)  # large, and never changed


def recut(
    base: Path, output: Path, spec: DiscoverSpec, level: float, columns: PairColumns, call: Call
) -> None:
    """Write a discover run's files (docs/architecture.md) for the clusters at a distance.

    `base` is the output of the earlier run, `spec` has its settings; `columns` are of its pairs.
    """
    if not (base / SCORES).is_file():
        raise UserError(
            f"{base / SCORES}: the map was made by a version that could not cut it again. Discover "
            "again (delete the run, or choose another --seed), then cut that."
        )
    pairs, prompts = (data_frame(base / f"{name}.parquet") for name in ("pairs", "prompts"))
    leaf, leaves = pairs["leaf"].to_numpy(np.int64), pairs["leaves"].to_numpy()
    tree = Tree(data_frame(base / "tree.parquet"), leaf, leaves)
    matrix, clusters = _read(base, pairs, prompts)
    labels = cut(tree, level)
    if not (labels >= 0).any():
        raise UserError(f"At the distance {level:g} no pairs are close. Choose a larger --level.")
    scores = np.nan_to_num(pairs["push"].to_numpy(np.float32))
    pairs = pairs.assign(cluster=labels, strength=membership_strength(scores, labels))
    discovery = Discovery(clusters, pair_features(matrix, clusters), pairs, prompts, tree)
    table = cluster_table(matrix, discovery, columns, call)
    sample, others = _repeats(base, spec, labels, call)
    table["stability"] = table["cluster"].map(recovered(sample, others))
    sources = source_enrichment(labels, columns["source"].loc[pairs["uid"].tolist()])
    tables = {"clusters": table, "sources": sources}
    attribution = read_attribution(base)
    if attribution is not None:
        tables["contributions"] = attribution.of_clusters(labels)
    _pass_on(base, output)
    earlier = record(base / "summary.json")
    stability = earlier["stability"] | {"clusters_over_prompts": {"n": 0}}
    stability["cut_over_seeds"] = agreement(sample, others)
    summary = earlier | discovery.summary(matrix) | {"level": level, "stability": stability}
    discovery.write(output, tables, summary)


def _read(base: Path, pairs: pd.DataFrame, prompts: pd.DataFrame) -> tuple[Matrix, PromptClusters]:
    """The matrix and the prompt clusters of a finished run."""
    weights = prompts["change"].to_numpy(np.float32)
    matrix = assemble(
        array(base / "matrix.npy"),
        prompts,
        pairs["uid"].to_numpy(object),
        weights=np.nan_to_num(weights),
        prompt_defined=np.isfinite(weights),
        pair_defined=pairs["x"].notna().to_numpy(),
    )
    labels = prompts.loc[matrix.prompt_defined, "cluster"].to_numpy(np.int64)
    scores = array(base / SCORES)
    changes = pd.Series(matrix.weights[matrix.prompt_defined])
    strength = changes.groupby(labels).mean().reindex(range(len(scores)))
    return matrix, PromptClusters(labels, scores, thresholds(scores), strength.to_numpy(np.float32))


def _repeats(
    base: Path, spec: DiscoverSpec, labels: Labels, call: Call
) -> tuple[Labels, list[Labels]]:
    """The cut over the pairs that were embedded again, and the cuts of their other embeddings."""
    if not (base / REPEATS).is_file():
        return labels, []
    repeats = Repeats(**arrays(base / REPEATS))
    others = Repeats(repeats.rows, repeats.places[1:]).clusterings(spec, call)
    cuts = cut_into([other.tree for other in others], int(labels.max()) + 1)
    return labels[repeats.rows], cuts


def _pass_on(base: Path, output: Path) -> None:
    for name in COPIED:
        shutil.copyfile(base / name, output / name)
    for name in LINKED:
        if not (base / name).is_file():  # the run of an earlier version
            continue
        try:
            os.link(base / name, output / name)
        except OSError:  # a file system without links
            shutil.copyfile(base / name, output / name)
