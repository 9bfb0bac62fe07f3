"""The pipeline on planted matrices, and on input with little or nothing to find."""

from dataclasses import replace

import numpy as np
import pytest

from core.discovery.pipeline import analyse
from core.runs.workers import call_directly
from core.specs.steps import DiscoverSpec
from tests.discovery.worlds import as_matrix, planted, unrefined

SPEC = DiscoverSpec(generate="generate-0", index="index-0")


def found_in(values, **settings):
    spec = SPEC.model_copy(update=settings)
    return analyse(
        as_matrix(values), spec, call_directly, lambda done, total: None, refine=unrefined
    )


def test_clusters_are_numbered_by_size_and_belong_by_score():
    found = found_in(planted(sizes=(30, 60)), min_cluster_size=15)
    clusters = found.pairs["cluster"].to_numpy()
    assert set(clusters[:30]) == {1}
    assert set(clusters[30:90]) == {0}
    assert set(clusters[90:]) == {-1}
    assert found.pairs["strength"].between(0, 1).all()
    assert found.pairs.loc[:89, "push"].mean() == pytest.approx(0.5, abs=0.02)


def test_density_takes_the_clusters_of_the_map():
    found = found_in(planted(sizes=(30, 60)), cluster_by="density", min_cluster_size=15)
    clusters = found.pairs["cluster"].to_numpy()
    assert (clusters[30:90] == 0).mean() > 0.9
    assert (clusters[:30] == 1).mean() > 0.9


HARDLY = {
    "fewer pairs than neighbors": np.random.default_rng(0).normal(size=(6, 5)),
    "one pair": np.full((3, 1), 0.4),
    "one prompt": np.random.default_rng(0).normal(size=(1, 30)),
    "one cluster": np.full((8, 40), 0.5) + np.random.default_rng(0).normal(0, 0.01, (8, 40)),
    "all scores are negative": -np.abs(np.random.default_rng(0).normal(size=(6, 40))),
    "identical points": np.full((6, 40), 0.5),
    "all zero": np.zeros((6, 40)),
}


@pytest.mark.parametrize("values", HARDLY.values(), ids=HARDLY)
def test_little_or_nothing_to_find_is_an_answer(values):
    found = found_in(values)
    assert len(found.pairs) == values.shape[1]
    assert np.isfinite(found.pairs[["x", "y", "push"]]).all(axis=None)
    assert np.isfinite(found.prompts[["x", "y"]]).all(axis=None)
    assert sorted(found.pairs["place"]) == list(range(len(found.pairs)))


def test_undefined_pairs_and_prompts_keep_their_rows_without_place_or_cluster():
    values = planted()
    values[3], values[:, 7] = np.nan, np.nan
    found = found_in(values, min_cluster_size=20)
    assert found.pairs.loc[7, ["x", "y", "strength"]].isna().all()
    assert found.pairs.loc[7, ["cluster", "island", "leaf"]].tolist() == [-1, -1, -1]
    assert found.prompts.loc[3, ["x", "y"]].isna().all()
    assert found.prompts.loc[3, "cluster"] == -1
    assert found.pairs.drop(7)[["x", "y"]].notna().all(axis=None)


def test_a_stop_before_a_block_ends_the_analysis():
    class StopError(Exception):
        pass

    def stop():
        raise StopError

    with pytest.raises(StopError):
        analyse(
            replace(as_matrix(planted()), before_block=stop),
            SPEC,
            call_directly,
            lambda done, total: None,
            refine=unrefined,
        )
