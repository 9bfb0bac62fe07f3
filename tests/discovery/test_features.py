"""Features of pairs and prompts: the directions in which pairs act on prompt clusters."""

import numpy as np
import pytest

from core.discovery.features import INNER, column_components, pair_features, prompt_features
from core.discovery.prompt_clusters import find_prompt_clusters
from core.geometry import principal_components
from tests.discovery.worlds import as_matrix, planted


def features(values, weights=None):
    matrix = as_matrix(values, weights=weights)
    return pair_features(matrix, find_prompt_clusters(matrix, 8))


def test_pairs_that_act_on_prompts_are_attributed():
    assert np.flatnonzero(features(planted()).attributed).tolist() == list(range(100))


def test_pairs_that_act_on_the_same_prompts_have_the_same_direction():
    points = features(planted()).points
    first, second = points[:50].mean(axis=0), points[50:100].mean(axis=0)
    assert first @ second < 0.1
    assert (points[:50] @ first > 0.9 * (first @ first)).all()


def test_attributed_pairs_lie_beyond_one_and_the_rest_further_in():
    found = features(planted())
    lengths = np.linalg.norm(found.points, axis=1)
    assert lengths[found.attributed].min() >= 1
    assert lengths[~found.attributed].max() == pytest.approx(INNER, abs=1e-5)


def test_a_prompt_that_hardly_changed_hardly_counts():
    values = planted()
    noisy = np.vstack([values, np.full((1, values.shape[1]), 0.9, np.float32)])
    noisy[-1, ::2] *= -1
    weights = np.ones(len(noisy), np.float32)
    weights[-1] = 0.01
    assert np.flatnonzero(features(noisy, weights).attributed).tolist() == list(range(100))


def test_equal_columns_are_all_attributed():
    found = features(np.full((5, 9), 0.5))
    assert found.attributed.all()
    assert np.isfinite(found.points).all()


def test_components_by_blocks_are_those_of_the_whole(monkeypatch):
    monkeypatch.setattr("core.discovery.matrix.COLUMNS", 23)
    values = planted()
    whole = principal_components(values.T.copy(), 5)
    blocked = column_components(as_matrix(values))[:, :5]
    np.testing.assert_allclose(np.abs(blocked), np.abs(whole), atol=1e-3)


def test_prompts_on_which_the_same_pairs_act_are_close():
    points = prompt_features(as_matrix(planted()), np.arange(300) < 100)
    gaps = np.linalg.norm(points[:, None] - points[None], axis=2)
    assert gaps[:10, :10].max() < gaps[:10, 10:].min()
