"""Parts of a behavior's attribution, by cluster."""

import numpy as np
import pandas as pd

from core.discovery.contributions import contributions


def test_contributions_are_shares_of_what_is_positive():
    labels = pd.Series([0, 0, 1, -1], index=list("abcd"))
    ranking = pd.DataFrame({"uid": list("dcba"), "discriminant": [np.nan, 0.5, -0.3, 1.5]})
    assert contributions(labels, ranking).to_dict() == {-1: 0, 0: 0.75, 1: 0.25}
