"""A map that exists, cut coarser or finer: other clusters of the same pairs, in the same places.

Nothing is laid out again and no model is read: the clusters are the groups of HDBSCAN's tree that
are there at a distance on the map, and everything said of them is computed anew from the matrix and
the pushes that the earlier run kept. They are dense groups of the map, not one per kind of prompts.
Whether they would come again is asked of the same pairs laid out with other seeds, which the
earlier run kept too, cut into as many groups.
"""

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from core.attribution.concentration import otsu_cutoff
from core.data.pair_table import PairColumns
from core.discovery.attribution_share import ATTRIBUTION, kept
from core.discovery.cluster_stats import sources
from core.discovery.condensed_tree import Tree, cut
from core.discovery.features import pair_features
from core.discovery.matrix import Matrix, assemble
from core.discovery.pipeline import Again, Found, Knobs, Labels, firmness
from core.discovery.prompt_clusters import Kinds
from core.discovery.stability import agreement, cuts, recovered
from core.discovery.summary import describe_clusters, summarise, write
from core.errors import UserError
from core.runs.workers import Call
from core.storage.tables import array, data_frame, record

PUSHES = "pushes.npy"  # of a discover run: (kind, defined pair)
AGAIN = "again.npz"  # of a discover run: `mapping.Again`
COPIED = ("tree.parquet", "changes.parquet")
LINKED = ("matrix.npy", PUSHES, ATTRIBUTION, AGAIN)  # large, and never changed


def recut(
    base: Path, output: Path, knobs: Knobs, level: float, of: PairColumns, call: Call
) -> None:
    """Write a discover run's files (docs/architecture.md) for the clusters at a distance.

    `base` is the output of the run that is cut, `knobs` that run's; `of` are its index's pairs.
    """
    if not (base / PUSHES).is_file():
        raise UserError(
            f"{base / PUSHES}: the map was drawn by a version that could not cut it again. Draw it "
            "anew (delete the run, or discover with another --seed), then cut that."
        )
    pairs, prompts = (data_frame(base / f"{name}.parquet") for name in ("pairs", "prompts"))
    nodes = data_frame(base / "tree.parquet")
    tree = Tree(nodes, pairs["leaf"].to_numpy(np.int64), pairs["leaves"].to_numpy())
    matrix, kinds = _kept(base, pairs, prompts)
    labels = cut(tree, level)
    if not (labels >= 0).any():
        raise UserError(
            f"At the distance {level:g} no pairs lie together. Choose a larger --level."
        )
    push = np.nan_to_num(pairs["push"].to_numpy(np.float32))
    pairs = pairs.assign(cluster=labels, strength=firmness(push, labels))
    found = Found(kinds, pair_features(matrix, kinds), pairs, prompts, tree)
    described = describe_clusters(matrix, found, of, call)
    own, others = _again(base, knobs, labels, call)
    described["stability"] = described["cluster"].map(recovered(own, others))
    tables = {"pairs": pairs, "prompts": prompts, "clusters": described}
    tables["sources"] = sources(labels, of["source"].loc[pairs["uid"].tolist()])
    attributed = kept(base)
    if attributed is not None:
        tables["contributions"] = attributed.of_clusters(labels)
    _pass_on(base, output)
    known = record(base / "summary.json")
    stable = known["stability"] | {"clusters_over_prompts": {"n": 0}}
    stable["cut_over_seeds"] = agreement(own, others)
    summary = known | summarise(matrix, found) | {"level": level, "stability": stable}
    write(output, tables, summary, matrix, found, seed=knobs.seed)


def _kept(base: Path, pairs: pd.DataFrame, prompts: pd.DataFrame) -> tuple[Matrix, Kinds]:
    """The matrix and the kinds of a finished run."""
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
    push = array(base / PUSHES)
    changes = pd.Series(matrix.weights[matrix.prompt_defined])
    strength = changes.groupby(labels).mean().reindex(range(len(push)))
    cuts = np.array([otsu_cutoff(row).threshold for row in push])
    return matrix, Kinds(labels, push, cuts, strength.to_numpy(np.float32))


def _again(base: Path, knobs: Knobs, labels: Labels, call: Call) -> tuple[Labels, list[Labels]]:
    """The cut over the pairs that were laid out again, and the cuts of their other maps."""
    if not (base / AGAIN).is_file():
        return labels, []
    with np.load(base / AGAIN) as held:
        again = Again(held["rows"], held["places"])
    others = Again(again.rows, again.places[1:]).islands(knobs, call)
    return labels[again.rows], cuts([one.tree for one in others], int(labels.max()) + 1)


def _pass_on(base: Path, output: Path) -> None:
    for name in COPIED:
        shutil.copyfile(base / name, output / name)
    for name in LINKED:
        if not (base / name).is_file():  # drawn by an earlier version
            continue
        try:
            os.link(base / name, output / name)
        except OSError:  # a file system without links
            shutil.copyfile(base / name, output / name)
