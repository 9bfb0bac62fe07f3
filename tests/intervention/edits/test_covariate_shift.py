"""Length and norm of touched pairs against the rest."""

import numpy as np
import pandas as pd

from core.intervention.edits.covariate_shift import shift


def test_longer_touched_completions_show_in_standard_deviations():
    n = 40
    chosen = np.where(np.arange(n) < 10, 30, 10)
    lengths = pd.DataFrame({"prompt": 1, "chosen": chosen, "rejected": 2})
    table = shift(lengths, np.arange(n) < 10, np.ones(n)).set_index("what")
    found = table.loc["chosen, characters"]
    assert (found["touched"], found["rest"]) == (30, 10)
    assert found["difference"] == 20 / lengths["chosen"].std()
    assert np.isnan(table.loc["prompt, characters", "difference"])
    assert np.isnan(table.loc["length of the datapoint vector", "difference"])
