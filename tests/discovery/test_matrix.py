"""Sums and means over a matrix on disk are those in memory, whatever is undefined."""

import numpy as np
import pytest

from core.discovery import matrix as matrix_module
from tests.discovery.worlds import as_matrix, planted


@pytest.fixture
def holed(monkeypatch):
    monkeypatch.setattr(matrix_module, "COLUMNS", 40)
    values = planted()
    values[3], values[:, [7, 299]] = np.nan, np.nan
    return as_matrix(values)


def test_blocks_are_the_defined_rows_and_columns(holed):
    whole = holed.values[np.ix_(holed.prompt_defined, holed.pair_defined)]
    blocks = list(holed.blocks())
    assert len(blocks) == 8
    np.testing.assert_array_equal(np.concatenate([part for _, part in blocks], axis=1), whole)
    assert [place.start for place, _ in blocks][:3] == [0, 39, 79]


def test_sums_and_columns_agree_with_the_whole(holed):
    whole = holed.values[np.ix_(holed.prompt_defined, holed.pair_defined)]
    weights = np.random.default_rng(0).normal(size=(2, 19))
    np.testing.assert_allclose(holed.sums(weights), weights @ whole, atol=1e-4)
    chosen = np.arange(298) % 3 == 0
    np.testing.assert_array_equal(holed.columns(chosen), whole[:, chosen])


@pytest.fixture
def matrix(tmp_path):
    values = np.random.default_rng(0).normal(size=(70, 9)).astype(np.float32)
    values[:, 4] = np.nan  # a pair without a vector
    values[66] = np.nan  # a prompt without one
    np.save(tmp_path / "matrix.npy", values)
    return values


def test_the_mean_by_prompt_is_over_the_pairs_that_are_defined(matrix, tmp_path):
    chosen = np.array([True, False, True, False, True, False, False, False, False])
    found = matrix_module.mean_by_prompt(tmp_path, chosen)
    expected = matrix[:, [0, 2]].astype(float).mean(1)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_mean_by_pair_is_over_the_prompts_that_are_defined(matrix, tmp_path):
    chosen = np.zeros(70, dtype=bool)
    chosen[[3, 40, 66]] = True
    found = matrix_module.mean_by_pair(tmp_path, chosen)
    expected = matrix[[3, 40]].astype(float).mean(0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_mean_of_nothing_is_undefined(matrix, tmp_path):
    assert np.isnan(matrix_module.mean_by_prompt(tmp_path, np.zeros(9, dtype=bool))).all()
    assert np.isnan(matrix_module.mean_by_pair(tmp_path, np.zeros(70, dtype=bool))).all()
