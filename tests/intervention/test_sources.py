"""Sources: their part of an attribution, and what dropping one should do."""

import pandas as pd
import pytest

from core.intervention.sources import by_source


def test_a_source_that_carries_everything_is_predicted_to_undo_everything():
    sources = pd.Series(["chat", "code", "code"], index=["a", "b", "c"])
    attribution = pd.Series({"a": -1.0, "b": 3.0, "c": 1.0})
    actions = pd.DataFrame({"uid": ["a", "b"], "action": ["keep", "flip"]})
    table = by_source(sources, attribution, actions, reference=0.1, before=0.6)
    assert list(table["source"]) == ["code", "chat"]
    assert list(table["pairs"]) == [2, 1]
    assert list(table["edited"]) == [1, 0]
    assert list(table["attribution"]) == [1.0, -0.25]
    assert table["predicted if dropped"].iloc[0] == pytest.approx(0.1)
    assert table["predicted if dropped"].iloc[1] > 0.6
