"""Numbers beside a cluster, against what was planted."""

import numpy as np
import pandas as pd
import pytest

from core.discovery.kinds import find_kinds
from core.discovery.statistics import contributions, push_statistics, sources
from tests.discovery.worlds import as_matrix, planted


@pytest.fixture(scope="module")
def table():
    matrix = as_matrix(planted())
    kinds = find_kinds(matrix, 8)
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


def test_contributions_are_shares_of_what_is_positive():
    labels = pd.Series([0, 0, 1, -1], index=list("abcd"))
    ranking = pd.DataFrame({"uid": list("dcba"), "gated": [np.nan, 0.5, -0.3, 1.5]})
    assert contributions(labels, ranking).to_dict() == {-1: 0, 0: 0.75, 1: 0.25}
