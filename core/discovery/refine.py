"""Refined scores of pairs on prompt clusters, along the direction that changed most there.

The mean over all of the policy's rollouts is mostly over rollouts on which nothing changed. Given
prompt clusters, Fisher's discriminant separates the policy's completions of a cluster from the
reference's, each less the mean of its prompt's reference completions. The policy's completions
beyond nearly all of the reference's along it are those that changed; a second discriminant, of
these alone, is the cluster's direction w. The score of a pair becomes cos(w, v_d) · mean gate. The
clusters themselves stay. Needs no judge, no name of a group and no truth; a prompt that was drawn
twice counts twice in the gate, not in w.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from core.attribution.index.layout import VectorIndex
from core.attribution.similarity import gate, mean_context
from core.attribution.vectors import PROMPT, Activations, discriminant, group_means, prompt_rows
from core.discovery.matrix import Doubles, Floats, Matrix
from core.discovery.prompt_clusters import PromptClusters, thresholds
from core.geometry import cosines

BEYOND = 0.98  # share of reference completions below a changed one: docs/experiments/discovery.md
FEWEST = 5  # changed completions that make a direction; with fewer, all of the policy's count

Refine = Callable[[Matrix, PromptClusters], PromptClusters]


def refinement(index: VectorIndex, activations: Activations, layer: int, *, gated: bool) -> Refine:
    """A function that refines the scores on prompt clusters, in one pass over the index."""
    number = activations.layers.index(layer)
    means = activations.means[:, number].astype(np.float64)
    is_policy = activations.completions["model"].eq("policy").to_numpy(bool)

    def refine(matrix: Matrix, clusters: PromptClusters) -> PromptClusters:
        prompts = matrix.prompts.loc[matrix.prompt_defined, PROMPT]
        owner = prompt_rows(prompts, activations.completions)
        reference = (owner >= 0) & ~is_policy
        reference_means, _ = group_means(means[reference], owner[reference], len(prompts))
        changes = means - reference_means[owner]  # (completion, d_model)
        cluster = np.where(owner >= 0, clusters.labels[owner], -1)
        directions = np.array(
            [
                direction(changes[(cluster == k) & is_policy], changes[(cluster == k) & ~is_policy])
                for k in range(len(clusters.scores))
            ]
        )
        defined = directions.any(axis=1) if len(directions) else np.zeros(0, bool)
        if not defined.any():
            return clusters
        member = clusters.labels == np.flatnonzero(defined)[:, None]  # (cluster, prompt)
        weights = member * matrix.weights[matrix.prompt_defined]
        weights /= weights.sum(axis=1, keepdims=True)
        contexts = activations.contexts[prompt_rows(activations.prompts, prompts), number]
        scores = clusters.scores.copy()
        scores[defined] = _scores(
            index,
            layer,
            directions[defined],
            contexts if gated else None,
            weights,
            matrix.before_block,
        )[:, matrix.pair_defined]
        return replace(clusters, scores=scores, thresholds=thresholds(scores))

    return refine


def direction(policy: Doubles, reference: Doubles) -> Floats:
    """w, (d_model,), from completions less their prompt's reference mean; 0 if nothing changed."""
    first = discriminant(policy, reference, damp_both=True)
    beyond = policy @ first > np.quantile(reference @ first, BEYOND)
    changed = policy[beyond] if beyond.sum() >= FEWEST else policy
    return discriminant(changed, reference, damp_both=True)


def _scores(
    index: VectorIndex,
    layer: int,
    directions: Floats,
    contexts: Floats | None,
    weights: Doubles,
    before_block: Callable[[], object],
) -> Floats:
    """cos(w, v_d), times the cluster's mean gate where contexts are given, (cluster, pair).

    `weights` (cluster, prompt) sum to 1.
    """
    mean = mean_context(index, layer)
    parts = []
    for block in index.blocks(layer):
        before_block()
        part = cosines(directions, block.datapoint)
        if contexts is not None:
            gates = gate(cosines(contexts - mean, block.context - mean))
            part *= (weights @ gates).astype(np.float32)
        parts.append(part)
    return np.concatenate(parts, axis=1)
