"""Do the pairs that an edit touches differ from the rest in length or norm?

If they do, what retraining changes may be due to that rather than to what the pairs say. The
difference is given in standard deviations of all pairs (Cohen's d with the pooled spread replaced
by the whole's). Knows nothing of why they differ.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

NOTABLE = 0.5  # standard deviations


def shift(pairs: pd.DataFrame, touched: Sequence[str], norms: pd.Series | None) -> pd.DataFrame:
    """`what, touched, rest, difference`: means of lengths in characters, and of vector norms.

    `norms` by uid, None where nothing is ranked. NaN where touched or rest are empty.
    """
    own = pairs["uid"].isin(touched).to_numpy(dtype=bool)
    measures = {f"{name}, characters": pairs[name].str.len() for name in ("prompt", "chosen")}
    measures["rejected, characters"] = pairs["rejected"].str.len()
    longer = measures["chosen, characters"] - measures["rejected, characters"]
    measures["chosen minus rejected, characters"] = longer
    if norms is not None:
        measures["length of the datapoint vector"] = pairs["uid"].map(norms)
    rows = [(name, *_compared(values, own)) for name, values in measures.items()]
    return pd.DataFrame(rows, columns=["what", "touched", "rest", "difference"])


def _compared(values: pd.Series, own: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> list[float]:
    inside, outside = float(values[own].mean()), float(values[~own].mean())
    spread = float(values.std())
    return [inside, outside, (inside - outside) / spread if spread else float("nan")]
