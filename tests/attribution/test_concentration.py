"""Pairs that stand apart make a behavior sparse; a little of it everywhere makes it diffuse."""

import numpy as np
import pandas as pd
import pytest

from core.attribution.concentration import (
    SHARES,
    Null,
    assess,
    curve,
    lookalikes,
    undecided,
)
from core.attribution.cutoff import suggest

N = 1000


def spread(rng):
    """Scores of pairs that all push a little, this way or that."""
    return rng.normal(0, 0.1, N)


def apart(rng, share):
    """The same, with a share of the pairs far above the rest."""
    scores = spread(rng)
    scores[: int(share * N)] += 0.8
    return scores


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def null(rng):
    rows = [spread(rng) for _ in range(100)]
    held = np.stack([curve(row, Null(np.zeros(1), np.zeros((1, len(SHARES)))))["attribution"]
                     for row in rows])  # fmt: skip
    return Null(np.array([suggest(row).separation for row in rows]), held)


@pytest.fixture
def pairs(rng):
    source = np.where(np.arange(N) % 2, "chat", "help")
    return pd.DataFrame(
        {"source": source, "norm": rng.uniform(1, 2, N), "longer": rng.integers(-5, 5, N)}
    )


@pytest.mark.parametrize(("share", "verdict"), [(0.05, "sparse"), (0.1, "sparse"), (0.4, "mixed")])
def test_pairs_that_stand_apart_are_sparse_if_they_are_few(rng, null, pairs, share, verdict):
    found = assess(apart(rng, share), null, pairs)
    assert found.verdict == verdict
    assert found.k == pytest.approx(share * N, rel=0.1)
    assert found.p_value < 0.05


def test_a_little_everywhere_is_diffuse(null, pairs):
    verdicts = [
        assess(spread(np.random.default_rng(seed)), null, pairs).verdict for seed in range(20)
    ]
    assert verdicts.count("diffuse") >= 12
    assert verdicts.count("sparse") <= 3


def test_undefined_scores_hold_nothing(rng, null, pairs):
    scores = apart(rng, 0.1)
    scores[-100:] = np.nan
    found = assess(scores, null, pairs)
    assert found.k == pytest.approx(100, abs=5)
    assert found.share == pytest.approx(found.k / 900)
    assert curve(scores, null)["attribution"].iloc[-1] == pytest.approx(1)


def test_the_curve_rises_to_all_of_the_attribution(rng, null):
    held = curve(apart(rng, 0.1), null)
    assert held["share"].tolist() == list(SHARES)
    assert held["attribution"].is_monotonic_increasing
    assert held["attribution"].iloc[-1] == pytest.approx(1)
    tenth = held.set_index("share").loc[0.1]
    assert tenth["attribution"] > tenth["null_high"]


def test_lookalikes_carry_as_much_where_length_explains_the_score(pairs):
    by_length = pairs["longer"].to_numpy() + 6.0
    assert lookalikes(by_length, 50, pairs) > 0.9


def test_lookalikes_carry_nothing_where_the_top_stands_apart(rng, pairs):
    scores = np.zeros(N)
    scores[rng.choice(N, 50, replace=False)] = 1.0
    assert lookalikes(scores, 50, pairs) == 0


def test_without_any_positive_score_nothing_is_said_of_lookalikes(null, pairs):
    found = assess(np.full(N, -1.0), null, pairs)
    assert found.k == 0
    assert found.lookalikes is None


def test_a_vector_that_means_nothing_gets_no_verdict(rng, null, pairs):
    found = undecided(assess(apart(rng, 0.1), null, pairs))
    assert found.verdict == "undecided"
    assert found.k > 0
