"""Two edits, pair by pair."""

import pandas as pd

from core.intervention.comparison import compare


def acted(**actions: str) -> pd.DataFrame:
    return pd.DataFrame({"uid": list(actions), "action": list(actions.values())})


def test_every_touched_pair_is_counted_once():
    one = acted(a="flip", b="flip", c="remove", e="keep")
    two = acted(b="flip", c="flip", d="remove", e="remove")
    assert compare(one, two) == (1, 1, 2, 1)
    assert compare(one, one) == (3, 0, 0, 0)
