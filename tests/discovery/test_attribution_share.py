"""Parts of a behavior's attribution, by cluster."""

import numpy as np
import pandas as pd

from core.discovery.attribution_share import CELL, Attribution, positive_shares


def test_contributions_are_shares_of_what_is_positive():
    uids = pd.Series(list("abcd"))
    ranking = pd.DataFrame({"uid": list("dcba"), "discriminant": [np.nan, 0.5, -0.3, 1.5]})
    shares = positive_shares(uids, ranking)
    behaviors = pd.DataFrame([("complied", "harmful", "plain", 4)], columns=CELL)
    parts = Attribution(behaviors, shares[None]).of_clusters(np.array([0, 0, 1, -1]))
    assert dict(zip(parts["cluster"], parts["share_of_attribution"], strict=True)) == {
        -1: 0,
        0: 0.75,
        1: 0.25,
    }
    assert (parts[CELL] == behaviors.iloc[0]).all(axis=None)


def test_without_a_behavior_there_is_no_part():
    nothing = Attribution(pd.DataFrame(columns=CELL), np.empty((0, 2), np.float32))
    assert nothing.of_clusters(np.array([0, -1])).empty
