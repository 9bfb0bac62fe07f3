"""Kinds of prompts: those that the policy changed alike on, and that the same pairs push.

Within each condition, prompts start as groups by Ward's method on how alike their rows of the
matrix are (cosine). Conditions are told apart from the start, because a distractor is what an
experiment adds to a prompt: plain and with it, the same topic would otherwise be one group
(docs/log.md). The push of a pair on a group is the mean of its entries there, prompts weighing by
how much they changed; the pairs above Otsu's cut of the pushes are those that act on it. Groups
that mostly the same pairs act on (by Jaccard) become one, until none are left. So every kind has a
cut of its own: one cut over all columns loses a behavior that few prompts show. Needs no judge, no
name of a group and no truth.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist

from core.attribution.concentration import otsu_cutoff
from core.discovery.matrix import Matrix
from core.geometry import kernel_components

OVERLAP = 0.4  # Jaccard of the pairs that act on two groups from which they are one kind
FEWEST = 3  # prompts in a kind: less is one prompt's sampling noise
COMPONENTS = 10  # of the kernel that Ward's method sees

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Kinds:
    """What prompts fall into, largest first, and how far each defined pair pushes each kind."""

    labels: Labels  # (prompt,) of the defined prompts; −1: no kind
    push: Floats  # (kind, pair) mean entry, prompts weighing by their change
    cuts: NDArray[np.float64]  # (kind,) push from which a pair acts on it
    strength: Floats  # (kind,) mean length of its prompts' behavior vectors, 1 on average

    @property
    def acting(self) -> Flags:
        """(kind, pair) whether a pair acts on a kind."""
        return self.push >= self.cuts[:, None]

    def hardest(self) -> Labels:
        """(pair,) the kind that each pair moves furthest, of those it acts on; −1: none."""
        moved = np.where(self.acting, self.push * self.strength[:, None], -np.inf)
        if not len(moved):
            return np.full(self.push.shape[1], -1, np.int64)
        kind: Labels = np.where(np.isfinite(moved).any(axis=0), moved.argmax(axis=0), -1)
        return kind


def find_prompt_clusters(matrix: Matrix, count: int) -> Kinds:
    """About `count` kinds of the matrix's defined prompts at most."""
    weights = matrix.weights[matrix.prompt_defined].astype(np.float64)
    start = _by_condition(matrix, count)
    member = start[None] == np.arange(start.max(initial=-1) + 1)[:, None]  # (group, prompt)
    labels = _join(member, matrix.sums(member * weights), weights)
    member = labels[None] == np.arange(labels.max(initial=-1) + 1)[:, None]
    totals = member @ weights
    push = (matrix.sums(member * weights) / totals[:, None]).astype(np.float32)
    return Kinds(
        labels=labels,
        push=push,
        cuts=np.array([otsu_cutoff(row).threshold for row in push]),
        strength=(totals / member.sum(axis=1)).astype(np.float32),
    )


def _by_condition(matrix: Matrix, count: int) -> Labels:
    """Groups of alike prompts within each condition, which get their share of `count`."""
    conditions = matrix.prompts["condition"][matrix.prompt_defined].to_numpy()
    labels, used = np.zeros(len(conditions), np.int64), 0
    for condition in pd.unique(conditions):
        own = np.flatnonzero(conditions == condition)
        part = max(2, round(count * len(own) / len(conditions)))
        labels[own] = used + group_alike(matrix.alike[np.ix_(own, own)], part)
        used = labels.max() + 1
    return labels


def group_alike(alike: Floats, count: int) -> Labels:
    """Ward's groups of points whose likeness, (point, point) in [−1, 1], is given."""
    if len(alike) <= 2:
        return np.zeros(len(alike), np.int64)
    points = kernel_components(alike, COMPONENTS)
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    directions = np.divide(points, lengths, out=np.zeros_like(points), where=lengths > 1e-9)
    groups: Labels = (
        fcluster(linkage(pdist(directions), "ward"), count, "maxclust").astype(np.int64) - 1
    )
    return groups


def _join(member: Flags, sums: NDArray[np.float64], weights: NDArray[np.float64]) -> Labels:
    """Kind of each prompt, largest first: groups joined while their acting pairs overlap.

    `member` is (group, prompt), `sums` the weighted entries of each group's prompts by pair.
    """
    groups = [np.flatnonzero(row) for row in member]
    acting = np.array([_acting(row) for row in sums])
    while len(groups) > 1:
        overlap = _jaccard(acting)
        other, one = divmod(int(overlap.argmax()), len(groups))  # one < other
        if overlap[other, one] < OVERLAP:
            break
        groups[one] = np.concatenate([groups[one], groups.pop(other)])
        sums[one] += sums[other]
        sums, acting = np.delete(sums, other, axis=0), np.delete(acting, other, axis=0)
        acting[one] = _acting(sums[one])
    enough = min(FEWEST, max(map(len, groups), default=0))
    kept = sorted((g for g in groups if len(g) >= enough), key=lambda g: (-len(g), g.min()))
    labels = np.full(len(weights), -1, np.int64)
    for number, group in enumerate(kept):
        labels[group] = number
    return labels


def _acting(sums: NDArray[np.float64]) -> Flags:
    return np.asarray(sums >= otsu_cutoff(sums).threshold)


def _jaccard(acting: Flags) -> NDArray[np.float64]:
    """Overlap of the pairs of every two groups, below the diagonal; −1 elsewhere."""
    flags = acting.astype(np.float32)
    both = (flags @ flags.T).astype(np.float64)
    sizes = np.diag(both)
    either = sizes[:, None] + sizes[None] - both
    overlap = np.divide(both, either, out=np.zeros_like(both), where=either > 0)
    overlap[~np.tri(len(acting), k=-1, dtype=bool)] = -1
    return overlap
