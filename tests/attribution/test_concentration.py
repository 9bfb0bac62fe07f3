"""One kind of pairs at fault makes a behavior sparse; data that lean as a whole make it diffuse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.attribution.concentration import (
    NEIGHBORS,
    SHARES,
    assess,
    attribution,
    curve,
    lookalikes,
    otsu_cutoff,
    random_directions,
    undecided,
)
from core.attribution.similarity import Query
from tests.attribution.test_similarity import D, write_index

SCORES = st.lists(st.floats(-1, 1, allow_nan=False, width=32) | st.just(float("nan")), max_size=40)
N = 600
WAY, TOPIC, OTHER = np.eye(D)[:3]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def planted(rng, tmp_path, signal, cuts=3):
    """An index whose pairs have a component `signal` along the behavior; half are on its topic.

    The first 60 pairs are of one source, the others of another.
    """
    datapoint = rng.normal(size=(N, D)) * 0.1 + signal[:, None] * WAY
    topics = np.where(np.arange(N)[:, None] < N // 2, TOPIC, OTHER)
    context = 5 + 3 * topics + rng.normal(size=(N, D)) * 0.3
    query = Query(WAY[None] * np.ones((4, 1)), 5 + 3 * TOPIC[None] * np.ones((4, 1)), WAY)
    source = np.where(np.arange(N) < 60, "bad", "good").astype(object)
    return write_index(tmp_path, datapoint, context, cuts), query, source


def assessed(index, query, source):
    scores = attribution(index, 0, query, method="gated", centered=False)
    return assess(scores, lookalikes(index, 0, scores, source))


def test_one_kind_of_pairs_with_one_sign_is_sparse(rng, tmp_path):
    signal = np.where(np.arange(N) < 60, 2.0, 0.0)
    verdict = assessed(*planted(rng, tmp_path, signal))
    assert verdict.verdict == "sparse"
    assert verdict.k == pytest.approx(60, abs=5)
    assert verdict.towards > 0.95


def test_data_that_lean_as_a_whole_are_diffuse(rng, tmp_path):
    signal = np.where(rng.random(N) < 0.6, 2.0, -2.0) * (rng.random(N) < 0.5)
    verdict = assessed(*planted(rng, tmp_path, signal))
    assert verdict.verdict == "diffuse"
    assert 0.4 < verdict.towards < 2 / 3


def test_one_kind_that_is_a_large_share_of_the_data_is_mixed(rng, tmp_path):
    signal = np.where(np.arange(N) < N // 2, 2.0, 0.0)
    verdict = assessed(*planted(rng, tmp_path, signal))
    assert verdict.verdict == "mixed"
    assert verdict.share > 0.15


def test_lookalikes_are_the_nearest_contexts_of_the_same_source_and_never_itself(rng, tmp_path):
    index, query, source = planted(rng, tmp_path, np.where(np.arange(N) < 60, 2.0, 0.0))
    scores = attribution(index, 0, query, method="gated", centered=False)
    similar = lookalikes(index, 0, scores, source)
    assert set(source[similar]) == {"bad"}
    assert len(similar) == NEIGHBORS * assess(scores, similar).k
    assert 7 not in lookalikes(index, 0, np.where(np.arange(N) == 7, 1.0, np.nan), source)


def test_shards_change_no_lookalike(rng, tmp_path):
    signal = np.where(np.arange(N) < 60, 2.0, 0.0)
    several = []
    for cuts in (1, 7):
        index, query, source = planted(
            np.random.default_rng(1), tmp_path / str(cuts), signal, cuts=cuts
        )
        scores = attribution(index, 0, query, method="gated", centered=False)
        several.append(np.sort(lookalikes(index, 0, scores, source)))
    np.testing.assert_array_equal(*several)


def test_a_source_with_a_single_pair_has_no_lookalikes(rng, tmp_path):
    index, _, _ = planted(rng, tmp_path, np.where(np.arange(N) < 1, 5.0, 0.0))
    scores = np.where(np.arange(N) == 0, 1.0, -1.0)
    source = np.where(np.arange(N) == 0, "alone", "good").astype(object)
    similar = lookalikes(index, 0, scores, source)
    assert len(similar) == 0
    assert assess(scores, similar).verdict == "undecided"


def test_the_curve_rises_to_all_of_the_attribution(rng, tmp_path):
    index, query, _ = planted(rng, tmp_path, np.where(np.arange(N) < 60, 2.0, 0.0))
    scores = attribution(index, 0, query, method="gated", centered=False)
    shares = curve(scores, random_directions(index, 0, query, centered=False))
    assert shares["share"].tolist() == list(SHARES)
    assert shares["attribution"].is_monotonic_increasing
    assert shares["attribution"].iloc[-1] == shares["null"].iloc[-1] == pytest.approx(1)
    assert (shares["null_low"] <= shares["null_high"]).all()


def test_undefined_scores_have_no_attribution():
    scores = np.array([1.0, 1.1, np.nan, -1.0, np.nan, 0.1])
    verdict = assess(scores, np.array([0, 1, 2, 4]))
    assert verdict.towards == 1
    assert verdict.share == verdict.k / 4


def test_a_vector_that_does_not_beat_chance_gets_no_verdict(rng, tmp_path):
    signal = np.where(np.arange(N) < 60, 2.0, 0.0)
    verdict = undecided(assessed(*planted(rng, tmp_path, signal)))
    assert verdict.verdict == "undecided"
    assert verdict.k > 0


@pytest.mark.parametrize("planted", [30, 250])
def test_a_planted_group_of_high_scores_is_cut_off(planted):
    rng = np.random.default_rng(0)
    rest = np.abs(rng.normal(scale=0.1, size=3000 - planted))
    scores = np.concatenate([rest, rng.normal(0.75, 0.08, planted)])
    assert otsu_cutoff(scores).k == pytest.approx(planted, rel=0.05)


def test_a_group_that_stands_apart_separates_better_than_an_even_slope():
    rng = np.random.default_rng(0)
    even = rng.uniform(size=1000)
    separate = np.concatenate([rng.uniform(0, 0.1, 700), rng.uniform(0.8, 0.9, 300)])
    assert otsu_cutoff(separate).separation > 0.95 > otsu_cutoff(even).separation


@given(SCORES)
def test_the_threshold_takes_exactly_k_positive_scores(values):
    scores = np.array(values, np.float64)
    cut = otsu_cutoff(scores)
    assert int((scores >= cut.threshold).sum()) == cut.k
    assert cut.k <= int((scores > 0).sum())


def test_nothing_positive_means_nothing_to_take():
    assert otsu_cutoff(np.array([-0.5, 0.0, np.nan])).k == 0


def test_equal_scores_are_not_divided():
    assert otsu_cutoff(np.array([0.5, 0.5, 0.5])).k == 3
