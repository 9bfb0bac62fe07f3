"""Numbers beside a cluster, against what was planted."""

import numpy as np
import pandas as pd
import pytest

from core.discovery.cluster_stats import push_statistics, sources
from core.discovery.prompt_clusters import find_prompt_clusters
from tests.discovery.worlds import as_matrix, planted


@pytest.fixture(scope="module")
def table():
    matrix = as_matrix(planted())
    kinds = find_prompt_clusters(matrix, 8)
    return push_statistics(matrix, kinds.hardest(), kinds).set_index("cluster")


def test_a_cluster_pushes_its_prompts_as_far_as_was_planted(table):
    assert table.loc[[0, 1], "push"].to_numpy() == pytest.approx([0.5, 0.5], abs=0.02)
    assert (table["push_low"] <= table["push"]).all()
    assert (table["push"] <= table["push_high"]).all()
    assert table.loc[[0, 1], "n_prompts"].tolist() == [10, 10]


def test_what_acts_is_far_from_the_rest_agreed_upon_and_most_of_the_push(table):
    assert (table.loc[[0, 1], "effect_size"] > 10).all()
    assert (table.loc[[0, 1], "sign_agreement"] == 1).all()
    assert (table.loc[[0, 1], "push_share"] > 0.8).all()
    assert table.loc[-1, "sign_agreement"] < 0.6


def test_sources_are_compared_with_the_data():
    found = sources(np.array([0, 0, 0, -1]), pd.Series(["a", "a", "b", "b"]))
    row = found.set_index(["cluster", "source"]).loc[(0, "a")]
    assert row["share"] == pytest.approx(2 / 3)
    assert row["enrichment"] == pytest.approx(4 / 3)


def test_a_planted_source_stands_out_and_a_fair_one_does_not():
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, -1], [60, 60, 480])
    source = random.choice(["a", "b", "c"], 600)
    source[:60] = random.choice(["a", "b"], 60, p=[0.9, 0.1])
    found = sources(labels, pd.Series(source)).set_index(["cluster", "source"])
    assert found.loc[(0, "a"), "q"] < 1e-6
    assert found.loc[(0, "a"), "enrichment_low"] > 1.5
    assert (found.loc[1, "q"] > 0.05).all()
    assert (found["enrichment_low"] <= found["enrichment"]).all()
    assert (found["enrichment"] <= found["enrichment_high"]).all()


def test_what_a_cluster_lacks_counts_as_a_test_too():
    found = sources(np.array([0, 0, 1, 1]), pd.Series(["a", "a", "b", "b"]))
    assert found["p"].to_numpy() == pytest.approx([1 / 6, 1 / 6])
    assert found["q"].to_numpy() == pytest.approx([1 / 3, 1 / 3])
