"""The link between pairs and prompts is the matrix's mean, whatever is undefined."""

import numpy as np
import pytest

from core.discovery import push


@pytest.fixture
def matrix(tmp_path):
    values = np.random.default_rng(0).normal(size=(70, 9)).astype(np.float32)
    values[:, 4] = np.nan  # a pair without a vector
    values[66] = np.nan  # a prompt without one
    np.save(tmp_path / "matrix.npy", values)
    return values


def test_what_pairs_push_is_the_mean_over_the_pairs_that_are_defined(matrix, tmp_path):
    chosen = np.array([True, False, True, False, True, False, False, False, False])
    found = push.on_prompts(tmp_path, chosen)
    expected = matrix[:, [0, 2]].astype(float).mean(1)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_what_pushes_prompts_is_the_mean_over_the_prompts_that_are_defined(matrix, tmp_path):
    chosen = np.zeros(70, dtype=bool)
    chosen[[3, 40, 66]] = True
    found = push.by_pairs(tmp_path, chosen)
    expected = matrix[[3, 40]].astype(float).mean(0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_nothing_chosen_pushes_nothing_known(matrix, tmp_path):
    assert np.isnan(push.on_prompts(tmp_path, np.zeros(9, dtype=bool))).all()
    assert np.isnan(push.by_pairs(tmp_path, np.zeros(70, dtype=bool))).all()
