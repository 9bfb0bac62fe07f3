"""Sums over a matrix that lies on disk are those of the matrix in memory."""

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
