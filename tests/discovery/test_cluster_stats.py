"""Statistics of clusters, against what was planted."""

import numpy as np
import pandas as pd
import pytest

from core.discovery.cluster_stats import (
    BEHAVIOR,
    Attribution,
    positive_shares,
    score_statistics,
    source_enrichment,
)
from core.discovery.prompt_clusters import find_prompt_clusters
from tests.discovery.worlds import as_matrix, planted


@pytest.fixture(scope="module")
def table():
    matrix = as_matrix(planted())
    clusters = find_prompt_clusters(matrix, 8)
    return score_statistics(matrix, clusters.strongest(), clusters).set_index("cluster")


def test_a_cluster_scores_on_its_prompts_what_was_planted(table):
    assert table.loc[[0, 1], "push_share"].min() > 0.5
    assert table.loc[[0, 1], "swapped_share"].max() < 0.2
    assert table.loc[[0, 1], "push"].to_numpy() == pytest.approx([0.5, 0.5], abs=0.02)
    assert (table["push_low"] <= table["push"]).all()
    assert (table["push"] <= table["push_high"]).all()
    assert table.loc[[0, 1], "n_prompts"].tolist() == [10, 10]


def test_acting_pairs_are_far_from_the_rest_agreed_upon_and_most_of_the_score(table):
    assert (table.loc[[0, 1], "effect_size"] > 10).all()
    assert (table.loc[[0, 1], "sign_agreement"] == 1).all()
    assert (table.loc[[0, 1], "push_share"] > 0.8).all()
    assert table.loc[-1, "sign_agreement"] < 0.6


def test_sources_are_compared_with_the_data():
    found = source_enrichment(np.array([0, 0, 0, -1]), pd.Series(["a", "a", "b", "b"]))
    row = found.set_index(["cluster", "source"]).loc[(0, "a")]
    assert row["share"] == pytest.approx(2 / 3)
    assert row["enrichment"] == pytest.approx(4 / 3)


def test_a_planted_source_stands_out_and_a_fair_one_does_not():
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, -1], [60, 60, 480])
    source = random.choice(["a", "b", "c"], 600)
    source[:60] = random.choice(["a", "b"], 60, p=[0.9, 0.1])
    found = source_enrichment(labels, pd.Series(source)).set_index(["cluster", "source"])
    assert found.loc[(0, "a"), "q"] < 1e-6
    assert found.loc[(0, "a"), "enrichment_low"] > 1.5
    assert (found.loc[1, "q"] > 0.05).all()
    assert (found["enrichment_low"] <= found["enrichment"]).all()
    assert (found["enrichment"] <= found["enrichment_high"]).all()


def test_sources_that_a_cluster_lacks_count_as_tests_too():
    found = source_enrichment(np.array([0, 0, 1, 1]), pd.Series(["a", "a", "b", "b"]))
    assert found["p"].to_numpy() == pytest.approx([1 / 6, 1 / 6])
    assert found["q"].to_numpy() == pytest.approx([1 / 3, 1 / 3])


def test_contributions_are_shares_of_what_is_positive():
    uids = pd.Series(list("abcd"))
    ranking = pd.DataFrame({"uid": list("dcba"), "discriminant": [np.nan, 0.5, -0.3, 1.5]})
    shares = positive_shares(uids, ranking)
    behaviors = pd.DataFrame([("complied", "harmful", "plain", 4)], columns=BEHAVIOR)
    parts = Attribution(behaviors, shares[None]).of_clusters(np.array([0, 0, 1, -1]))
    assert dict(zip(parts["cluster"], parts["share_of_attribution"], strict=True)) == {
        -1: 0,
        0: 0.75,
        1: 0.25,
    }
    assert (parts[BEHAVIOR] == behaviors.iloc[0]).all(axis=None)


def test_without_a_behavior_there_is_no_part():
    nothing = Attribution(pd.DataFrame(columns=BEHAVIOR), np.empty((0, 2), np.float32))
    assert nothing.of_clusters(np.array([0, -1])).empty
