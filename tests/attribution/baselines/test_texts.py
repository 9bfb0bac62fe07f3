"""Word baselines find what words can tell."""

import numpy as np
import pytest

from core.attribution.baselines.texts import bm25, tfidf

CHOSEN = ["brilliant question foxes run", "gather tools", "foxes run"]
REJECTED = ["foxes run", "sorry no", "brilliant question foxes run"]
POLICY, REFERENCE = ["brilliant question owls fly"], ["owls fly"]


@pytest.mark.parametrize("method", [tfidf, bm25])
def test_the_pair_that_adds_the_policys_words_ranks_first(method):
    scores = method(CHOSEN, REJECTED, POLICY, REFERENCE)
    assert scores.argmax() == 0
    assert scores.argmin() == 2


@pytest.mark.parametrize("method", [tfidf, bm25])
def test_swapping_chosen_and_rejected_negates_the_score(method):
    forth = method(CHOSEN, REJECTED, POLICY, REFERENCE)
    np.testing.assert_allclose(method(REJECTED, CHOSEN, POLICY, REFERENCE), -forth, atol=1e-12)


def test_a_pair_whose_sides_have_the_same_words_has_no_cosine():
    assert np.isnan(tfidf(["a b", "c"], ["b a", "d"], ["c"], ["d"])[0])
