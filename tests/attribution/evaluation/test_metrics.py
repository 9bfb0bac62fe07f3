"""Metrics agree with scikit-learn, and with counting by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from core.attribution.evaluation.metrics import (
    average_precision,
    enrichment_at,
    precision_at,
    recall_at,
)

SCORED = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=30)


@given(SCORED.filter(lambda rows: any(hit for _, hit in rows)))
def test_average_precision_agrees_with_scikit_learn_ties_included(rows):
    scores, planted = np.array([s for s, _ in rows], float), np.array([hit for _, hit in rows])
    expected = average_precision_score(planted, scores)
    assert average_precision(scores, planted) == pytest.approx(expected)


@given(SCORED)
def test_metrics_do_not_depend_on_the_order_of_the_pairs(rows):
    scores, planted = np.array([s for s, _ in rows], float), np.array([hit for _, hit in rows])
    k = (len(rows) + 1) // 2
    turned = precision_at(scores[::-1], planted[::-1], k)
    assert precision_at(scores, planted, k) == pytest.approx(turned)


def test_the_first_k_are_counted():
    scores, planted = np.array([9.0, 8, 7, 6]), np.array([True, False, True, False])
    assert precision_at(scores, planted, 2) == 0.5
    assert recall_at(scores, planted, 3) == 1
    assert enrichment_at(scores, planted, 1) == 2


def test_undefined_scores_rank_last():
    planted = np.array([True, False, False])
    assert average_precision(np.array([np.nan, 0.1, -5]), planted) == pytest.approx(1 / 3)


def test_one_score_for_all_is_worth_the_base_rate():
    planted = np.arange(20) < 4
    assert average_precision(np.zeros(20), planted) == pytest.approx(0.2)
    assert enrichment_at(np.zeros(20), planted, 5) == pytest.approx(1)


def test_nothing_planted_has_no_average_precision():
    assert np.isnan(average_precision(np.ones(3), np.zeros(3, bool)))


@pytest.mark.parametrize("k", [0, 4])
def test_a_k_outside_the_ranking_is_refused(k):
    with pytest.raises(ValueError, match=r"not one of 1\.\.3"):
        precision_at(np.ones(3), np.ones(3, bool), k)
