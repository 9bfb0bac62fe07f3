"""A second look at every kind of prompts: pushes along the direction of what changed most there.

The mean over all of the policy's rollouts is mostly rollouts on which nothing changed. Once the
kinds are known, Fisher's discriminant tells the policy's completions of a kind from the
reference's, each less the mean of its prompt's reference completions. The policy's completions
that lie further along it than nearly all of the reference's are those that changed, and a second
discriminant, of these alone, is the kind's direction w. The push of a pair becomes
cos(w, v_d) · mean gate. Kinds stay as they are. Needs no judge, no name of a group and no truth;
a prompt that was drawn twice weighs twice in the gate, not in w.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.attribution.concentration import otsu_cutoff
from core.attribution.index.layout import VectorIndex
from core.attribution.similarity import mean_context
from core.attribution.vectors import PROMPT, Activations, discriminant
from core.discovery.matrix import Matrix
from core.discovery.prompt_clusters import Kinds
from core.geometry import cosines

BEYOND = 0.98  # share of the reference's completions that a changed one lies beyond (docs/log.md)
FEWEST = 5  # changed completions that make a direction; with fewer, all of the policy's count

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Labels = NDArray[np.int64]
Sharpen = Callable[[Matrix, Kinds], Kinds]


def sharpening(index: VectorIndex, activations: Activations, layer: int, *, gated: bool) -> Sharpen:
    """A function that gives kinds their sharpened pushes, in one pass over the index."""
    number = activations.layers.index(layer)
    means = activations.means[:, number].astype(np.float64)
    is_policy = activations.completions["model"].eq("policy").to_numpy(bool)

    def sharpen(matrix: Matrix, kinds: Kinds) -> Kinds:
        prompts = matrix.prompts.loc[matrix.prompt_defined, PROMPT]
        owner = _rows(prompts, activations.completions)
        changed = _less_reference(means, owner, is_policy, len(prompts))
        kind = np.where(owner >= 0, kinds.labels[owner], -1)
        found = [
            direction(changed[(kind == k) & is_policy], changed[(kind == k) & ~is_policy])
            for k in range(len(kinds.push))
        ]
        known = np.array([w.any() for w in found], bool)
        if not known.any():
            return kinds
        own = kinds.labels == np.flatnonzero(known)[:, None]  # (kind, prompt)
        weights = own * matrix.weights[matrix.prompt_defined]
        weights /= weights.sum(axis=1, keepdims=True)
        contexts = activations.contexts[_rows(activations.prompts, prompts), number]
        push = kinds.push.copy()
        push[known] = _pushes(
            index, layer, np.array(found)[known], contexts if gated else None, weights, matrix.beat
        )[:, matrix.pair_defined]
        return replace(
            kinds, push=push, cuts=np.array([otsu_cutoff(row).threshold for row in push])
        )

    return sharpen


def direction(policy: Doubles, reference: Doubles) -> Floats:
    """w, (d_model,), from completions less their prompt's reference mean; 0 if nothing changed."""
    first = discriminant(policy, reference)
    beyond = policy @ first > np.quantile(reference @ first, BEYOND)
    return discriminant(policy[beyond] if beyond.sum() >= FEWEST else policy, reference)


def _pushes(
    index: VectorIndex,
    layer: int,
    directions: Floats,
    contexts: Floats | None,
    weights: Doubles,
    beat: Callable[[], None],
) -> Floats:
    """cos(w, v_d), times the kind's mean gate where contexts are given, (kind, pair).

    `weights` (kind, prompt) sum to 1.
    """
    mean = mean_context(index, layer)
    parts = []
    for block in index.blocks(layer):
        beat()
        part = cosines(directions, block.datapoint)
        if contexts is not None:
            gates = np.maximum(cosines(contexts - mean, block.context - mean), 0)
            part *= (weights @ gates).astype(np.float32)
        parts.append(part)
    return np.concatenate(parts, axis=1)


def _less_reference(
    means: Doubles, owner: Labels, is_policy: NDArray[np.bool_], n_prompts: int
) -> Doubles:
    """Completions less the mean of the reference's under the same prompt, (completion, d_model)."""
    usual = (owner >= 0) & ~is_policy
    sums = np.zeros((n_prompts, means.shape[1]))
    np.add.at(sums, owner[usual], means[usual])
    counts = np.bincount(owner[usual], minlength=n_prompts)  # every defined prompt has some
    moved: Doubles = means - (sums / counts[:, None])[owner]
    return moved


def _rows(prompts: pd.DataFrame, wanted: pd.DataFrame) -> Labels:
    """Row among some prompts and conditions of each wanted one; −1: none."""
    keys = pd.MultiIndex.from_frame(prompts[PROMPT])
    rows: Labels = keys.get_indexer(pd.MultiIndex.from_frame(wanted[PROMPT]))
    return rows
