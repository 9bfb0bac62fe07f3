"""Do the pairs that an edit touches differ from the rest in length or norm?

If they do, what retraining changes may be due to that rather than to what the pairs say. The
difference is given in standard deviations of all pairs (Cohen's d with the pooled spread replaced
by the whole's). Knows nothing of why they differ.
"""

import pandas as pd

from core.intervention.edits.select import Floats, Mask

NOTABLE = 0.5  # standard deviations


def shift(lengths: pd.DataFrame, touched: Mask, norms: Floats | None) -> pd.DataFrame:
    """`what, touched, rest, difference`: means of lengths in characters, and of vector norms.

    `lengths` has `prompt, chosen, rejected`. `touched` and `norms` are (pair,), norms NaN where
    undefined and None where nothing is ranked. NaN where touched or rest are empty.
    """
    measures = {f"{name}, characters": lengths[name] for name in lengths}
    measures["chosen minus rejected, characters"] = lengths["chosen"] - lengths["rejected"]
    if norms is not None:
        measures["length of the datapoint vector"] = pd.Series(norms)
    rows = [(name, *_compared(values, touched)) for name, values in measures.items()]
    return pd.DataFrame(rows, columns=["what", "touched", "rest", "difference"])


def _compared(values: pd.Series, own: Mask) -> list[float]:
    inside, outside = float(values[own].mean()), float(values[~own].mean())
    spread = float(values.std())
    return [inside, outside, (inside - outside) / spread if spread else float("nan")]
