"""What a map is made from: directions of the pairs that reach some prompt."""

import numpy as np
import pandas as pd
import pytest

from core.discovery.matrix import INNER, Matrix, pair_features


def planted(n_prompts=20, n_pairs=300, seed=0):
    """Pairs 0–49 push the first ten prompts, 50–99 the others, the rest nothing."""
    rng = np.random.default_rng(seed)
    values = rng.normal(scale=0.03, size=(n_prompts, n_pairs)).astype(np.float32)
    half = n_prompts // 2
    values[:half, :50] += 0.6
    values[half:, 50:100] += 0.6
    return values


def as_matrix(values, weights=None):
    prompts = pd.DataFrame({"prompt_id": range(len(values)), "condition": "plain", "group": "g"})
    defined = np.isfinite(values)
    rows = defined.any(axis=1)
    return Matrix(
        values=values,
        prompts=prompts,
        uids=np.array([f"u{i}" for i in range(values.shape[1])], object),
        weights=np.ones(len(values), np.float32) if weights is None else weights,
        prompt_defined=rows,
        pair_defined=defined[rows].all(axis=0),
    )


def test_the_pairs_that_push_something_are_attributed():
    features = pair_features(as_matrix(planted()))
    assert np.flatnonzero(features.attributed).tolist() == list(range(100))


def test_pairs_that_push_the_same_prompts_point_the_same_way():
    points = pair_features(as_matrix(planted())).points
    first, second = points[:50].mean(axis=0), points[50:100].mean(axis=0)
    assert first @ second < 0.1
    assert (points[:50] @ first > 0.9 * (first @ first)).all()


def test_attributed_pairs_lie_at_one_and_the_rest_further_in():
    features = pair_features(as_matrix(planted()))
    lengths = np.linalg.norm(features.points, axis=1)
    np.testing.assert_allclose(lengths[features.attributed], 1, atol=1e-5)
    assert lengths[~features.attributed].max() == pytest.approx(INNER, abs=1e-5)


def test_a_prompt_that_hardly_changed_hardly_counts():
    values = planted()
    noisy = np.vstack([values, np.full((1, values.shape[1]), 0.9, np.float32)])
    noisy[-1, ::2] *= -1
    weights = np.ones(len(noisy), np.float32)
    weights[-1] = 0.01
    features = pair_features(as_matrix(noisy, weights))
    assert np.flatnonzero(features.attributed).tolist() == list(range(100))


def test_undefined_pairs_and_prompts_are_left_out_not_zeroed():
    values = planted()
    values[3] = np.nan
    values[:, 7] = np.nan
    matrix = as_matrix(values)
    assert matrix.defined.shape == (19, 299)
    assert len(pair_features(matrix).points) == 299


def test_equal_columns_are_all_attributed():
    features = pair_features(as_matrix(np.full((5, 9), 0.5, np.float32)))
    assert features.attributed.all()
    assert np.isfinite(features.points).all()
