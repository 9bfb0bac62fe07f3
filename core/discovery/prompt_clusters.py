"""Prompt clusters: prompts on which the policy changed in the same way.

Within each condition, prompts are first grouped by Ward's method on the cosines of their rows of
the matrix. Conditions are kept apart at the start, because a distractor is what an experiment adds
to a prompt: otherwise the same topic with and without it would be one group
(docs/experiments/discovery.md). The score of a pair on a group is the mean of its entries there,
prompts weighted by how much they changed; the pairs above Otsu's threshold of these scores act on
the group. Groups on which mostly the same pairs act (Jaccard) are merged until none overlap. So
every prompt cluster has a threshold of its own: one threshold for all would lose a behavior that
few prompts show. Needs no judge, no name of a group and no truth.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.attribution.concentration import otsu_cutoff
from core.discovery.matrix import Doubles, Flags, Floats, Matrix
from core.geometry import kernel_components

OVERLAP = 0.4  # Jaccard of the pairs that act on two groups from which these are merged
FEWEST = 3  # prompts in a prompt cluster: fewer are sampling noise
COMPONENTS = 10  # of the row cosines, for Ward's method

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class PromptClusters:
    """Prompt clusters, largest first, and the score of each defined pair on each of them."""

    labels: Labels  # (prompt,) of the defined prompts; −1: in no cluster
    scores: Floats  # (cluster, pair) mean entry, prompts weighted by their change
    thresholds: Doubles  # (cluster,) score from which a pair acts on it
    strength: Floats  # (cluster,) mean length of its prompts' behavior vectors, 1 on average

    @property
    def acting(self) -> Flags:
        """(cluster, pair) whether a pair acts on a prompt cluster."""
        return self.scores >= self.thresholds[:, None]

    def strongest(self) -> Labels:
        """(pair,) where score × strength is largest, of those it acts on; −1: acts on none."""
        effects = np.where(self.acting, self.scores * self.strength[:, None], -np.inf)
        if not len(effects):
            return np.full(self.scores.shape[1], -1, np.int64)
        cluster: Labels = np.where(self.acting.any(axis=0), effects.argmax(axis=0), -1)
        return cluster


def find_prompt_clusters(matrix: Matrix, count: int) -> PromptClusters:
    """At most about `count` clusters of the matrix's defined prompts."""
    weights = matrix.weights[matrix.prompt_defined].astype(np.float64)
    member = _memberships(_by_condition(matrix, count))
    labels = _merge(member, matrix.sums(member * weights), weights)
    member = _memberships(labels)
    totals = member @ weights
    scores = (matrix.sums(member * weights) / totals[:, None]).astype(np.float32)
    return PromptClusters(
        labels=labels,
        scores=scores,
        thresholds=thresholds(scores),
        strength=(totals / member.sum(axis=1)).astype(np.float32),
    )


def thresholds(scores: Floats) -> Doubles:
    """Otsu's threshold of each row of scores, (row,)."""
    return np.array([otsu_cutoff(row).threshold for row in scores])


def _memberships(labels: Labels) -> Flags:
    """(group, prompt) whether a prompt is in a group."""
    member: Flags = labels[None] == np.arange(labels.max(initial=-1) + 1)[:, None]
    return member


def _by_condition(matrix: Matrix, count: int) -> Labels:
    """Groups of similar prompts within each condition, which get their share of `count`."""
    conditions = matrix.prompts["condition"][matrix.prompt_defined].to_numpy()
    labels, used = np.zeros(len(conditions), np.int64), 0
    for condition in pd.unique(conditions):
        rows = np.flatnonzero(conditions == condition)
        part = max(2, round(count * len(rows) / len(conditions)))
        labels[rows] = used + _ward_groups(matrix.row_similarity[np.ix_(rows, rows)], part)
        used = labels.max() + 1
    return labels


def _ward_groups(similarity: Floats, count: int) -> Labels:
    """Ward's groups of points, given the cosine of every two."""
    if len(similarity) <= 2:
        return np.zeros(len(similarity), np.int64)
    from scipy.cluster.hierarchy import fcluster, linkage  # 0.2 s, and pages never group
    from scipy.spatial.distance import pdist

    points = kernel_components(similarity, COMPONENTS)
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    directions = np.divide(points, lengths, out=np.zeros_like(points), where=lengths > 1e-9)
    tree = linkage(pdist(directions), "ward")
    return fcluster(tree, count, "maxclust").astype(np.int64) - 1


def _merge(member: Flags, sums: Doubles, weights: Doubles) -> Labels:
    """Cluster of each prompt, largest first: groups merged while their acting pairs overlap.

    `member` is (group, prompt), `sums` the weighted entries of each group's prompts by pair.
    """
    groups = [np.flatnonzero(row) for row in member]
    acting = np.array([_acting(row) for row in sums])
    while len(groups) > 1:
        overlap = _jaccard(acting)
        second, first = divmod(int(overlap.argmax()), len(groups))  # first < second
        if overlap[second, first] < OVERLAP:
            break
        groups[first] = np.concatenate([groups[first], groups.pop(second)])
        sums[first] += sums[second]
        sums, acting = np.delete(sums, second, axis=0), np.delete(acting, second, axis=0)
        acting[first] = _acting(sums[first])
    fewest = min(FEWEST, max(map(len, groups), default=0))
    groups = sorted((g for g in groups if len(g) >= fewest), key=lambda g: (-len(g), g.min()))
    labels = np.full(len(weights), -1, np.int64)
    for number, group in enumerate(groups):
        labels[group] = number
    return labels


def _acting(sums: Doubles) -> Flags:
    return np.asarray(sums >= otsu_cutoff(sums).threshold)


def _jaccard(acting: Flags) -> Doubles:
    """Overlap of the pairs of every two groups, below the diagonal; −1 elsewhere."""
    flags = acting.astype(np.float32)
    both = (flags @ flags.T).astype(np.float64)
    sizes = np.diag(both)
    either = sizes[:, None] + sizes[None] - both
    overlap = np.divide(both, either, out=np.zeros_like(both), where=either > 0)
    overlap[~np.tri(len(acting), k=-1, dtype=bool)] = -1
    return overlap
