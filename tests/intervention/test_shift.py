"""Length and norm of touched pairs against the rest."""

import numpy as np
import pandas as pd

from core.intervention.shift import shift


def test_longer_touched_completions_show_in_standard_deviations():
    n = 40
    touched = [f"u{i}" for i in range(10)]
    pairs = pd.DataFrame({"uid": [f"u{i}" for i in range(n)], "prompt": "p", "rejected": "no"})
    pairs["chosen"] = ["x" * (30 if i < 10 else 10) for i in range(n)]
    norms = pd.Series(np.ones(n), index=pairs["uid"])
    table = shift(pairs, touched, norms).set_index("what")
    chosen = table.loc["chosen, characters"]
    assert (chosen["touched"], chosen["rest"]) == (30, 10)
    assert chosen["difference"] == 20 / pairs["chosen"].str.len().std()
    assert np.isnan(table.loc["prompt, characters", "difference"])
    assert np.isnan(table.loc["length of the datapoint vector", "difference"])
