"""Matrices with planted groups, without models: what discovery's parts are tested on."""

import numpy as np
import pandas as pd

from core.discovery.matrix import Matrix


def as_matrix(values, *, weights=None, similarity=None, condition="plain"):
    """A matrix of these entries; the similarity of prompts is that of their rows."""
    values = np.asarray(values, np.float32)
    defined = np.isfinite(values)
    rows = defined.any(axis=1)
    columns = defined[rows].all(axis=0) if rows.any() else np.zeros(values.shape[1], bool)
    inside = values[np.ix_(rows, columns)]
    if similarity is None:
        lengths = np.maximum(np.linalg.norm(inside, axis=1, keepdims=True), 1e-9)
        similarity = (inside / lengths) @ (inside / lengths).T
    return Matrix(
        values=values,
        prompts=pd.DataFrame(
            {"prompt_id": range(len(values)), "condition": condition, "group": "g"}
        ),
        uids=np.array([f"u{i}" for i in range(values.shape[1])], object),
        weights=np.ones(len(values), np.float32) if weights is None else weights,
        row_similarity=np.asarray(similarity, np.float32),
        prompt_defined=rows,
        pair_defined=columns,
    )


def planted(*, sizes=(50, 50), prompts=(10, 10), n_pairs=300, score=0.5, noise=0.03, seed=0):
    """Entries, (prompt, pair), in which each block of pairs acts on a block of prompts."""
    rng = np.random.default_rng(seed)
    values = rng.normal(scale=noise, size=(sum(prompts), n_pairs)).astype(np.float32)
    row = column = 0
    for height, width in zip(prompts, sizes, strict=True):
        values[row : row + height, column : column + width] += score
        row, column = row + height, column + width
    return values


def unrefined(_matrix, prompt_clusters):
    """The prompt clusters with their first scores."""
    return prompt_clusters
