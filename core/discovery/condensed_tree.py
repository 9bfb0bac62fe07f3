"""HDBSCAN's tree of islands, and cutting it coarser or finer.

A node is a group of points that lie together at some distance; going down, points fall out of it
or it splits in two. `birth` and `death` are densities, 1 / distance: a node is there from the
density at which it split off to the one at which it splits or is gone. Cut at a distance, the
nodes that are there at 1 / distance are the groups; the islands that HDBSCAN itself takes are
`selected`. Knows numbers of points, not what they are.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

COLUMNS = ["node", "parent", "birth", "death", "size", "stability", "selected"]

Labels = NDArray[np.int64]
Floats = NDArray[np.float64]


class Tree(NamedTuple):
    """`nodes` has `COLUMNS`, the root's parent −1; each point hangs on `leaf` until `leaves`."""

    nodes: pd.DataFrame
    leaf: Labels  # (point,) node that it falls out of; −1: in no tree
    leaves: Floats  # (point,) density at which it does


def empty(n_points: int) -> Tree:
    """No groups at all."""
    return Tree(pd.DataFrame(columns=COLUMNS), np.full(n_points, -1, np.int64), np.zeros(n_points))


def from_condensed(rows: pd.DataFrame, selected: set[int], n_points: int) -> Tree:
    """From hdbscan's condensed tree (`parent, child, lambda_val, child_size`)."""
    points = rows[rows["child"] < n_points]
    splits = rows[rows["child"] >= n_points]
    leaf, leaves = np.full(n_points, -1, np.int64), np.zeros(n_points)
    leaf[points["child"]] = points["parent"] - n_points
    leaves[points["child"]] = points["lambda_val"]
    root = pd.DataFrame({"child": [n_points], "parent": [n_points - 1], "lambda_val": 0.0})
    nodes = pd.concat([root.assign(child_size=n_points), splits], ignore_index=True)
    lost = rows.assign(mass=rows["lambda_val"].clip(upper=_largest(rows)) * rows["child_size"])
    sums = lost.groupby("parent")[["mass", "child_size"]].sum().reindex(nodes["child"]).to_numpy()
    birth = nodes["lambda_val"].to_numpy()
    table = pd.DataFrame(
        {
            "node": nodes["child"] - n_points,
            "parent": nodes["parent"] - n_points,
            "birth": birth,
            "death": rows.groupby("parent")["lambda_val"].max().reindex(nodes["child"]).to_numpy(),
            "size": nodes["child_size"].astype(np.int64),
            "stability": sums[:, 0] - birth * sums[:, 1],
            "selected": nodes["child"].isin(selected),
        }
    )
    return Tree(table.sort_values("node", ignore_index=True), leaf, leaves)


def cut(tree: Tree, distance: float, min_size: int = 1) -> Labels:
    """The group of every point at a distance, numbered from the largest; −1: none.

    A larger distance is coarser. Groups smaller than `min_size` are none.
    """
    density = 1 / distance
    nodes = tree.nodes
    there = (nodes["birth"] <= density) & (nodes["size"] >= min_size)
    group = {-1: -1}
    names, parents = nodes["node"].tolist(), nodes["parent"].tolist()
    for node, parent, own in zip(names, parents, there.tolist(), strict=True):
        group[node] = node if own else group.get(parent, -1)  # parents come before their children
    held = np.array([group[int(node)] for node in tree.leaf], np.int64)
    held[tree.leaves < density] = -1
    return by_size(held)


def levels(nodes: pd.DataFrame) -> dict[int, float]:
    """By number of groups, the coarsest distance at which there are so many, fewest first."""
    found: dict[int, float] = {}
    for distance in sorted({1 / one for one in nodes["birth"] if one > 0}, reverse=True):
        just_below = float(0.999 * distance)  # there the node has split
        found.setdefault(groups(nodes, just_below), just_below)
    return dict(sorted(found.items()))


def groups(nodes: pd.DataFrame, distance: float) -> int:
    """How many groups there are at a distance."""
    there = (nodes["birth"] <= 1 / distance) & (nodes["death"] > 1 / distance)
    return int(there.sum())


def by_size(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Renumber clusters from the largest, ties by first appearance; noise stays −1."""
    counts = pd.Series(labels[labels >= 0]).value_counts(sort=False)  # by first appearance
    order = counts.sort_values(ascending=False, kind="stable").index
    numbers = pd.Series(np.arange(len(order)), index=order)
    renumbered: NDArray[np.int64] = (
        numbers.reindex(labels, fill_value=-1).to_numpy(np.int64)
        if len(order)
        else np.full(len(labels), -1, np.int64)
    )
    return renumbered


def _largest(rows: pd.DataFrame) -> float:
    """Identical points never part: their density is infinite, and is taken as the next one."""
    finite = rows.loc[np.isfinite(rows["lambda_val"]), "lambda_val"]
    return float(finite.max()) if len(finite) else 1.0
