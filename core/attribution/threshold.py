"""Where to cut a ranking, from its scores alone.

Otsu's threshold (IEEE Trans. SMC 9, 1979) over the positive scores: the cut that leaves the least
variance on its two sides. A suggestion for the first edit, made without knowing which pairs are
at fault; where scores fall off evenly any cut is arbitrary, and `separation` says so.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Cutoff:
    """Take the `k` pairs that score at least `threshold`."""

    k: int
    threshold: float
    separation: float  # share of the positive scores' variance that lies between the two sides


def suggest(scores: NDArray[np.floating]) -> Cutoff:
    """The cut of scores, (n,); undefined (NaN) and non-positive ones are never taken.

    Without two different positive scores there is nothing to tell apart: all positive ones.
    """
    positive = np.sort(scores[scores > 0].astype(np.float64))[::-1]  # NaN > 0 is False
    if len(positive) == 0:
        return Cutoff(0, float("inf"), 0.0)
    between = _between(positive)
    spread = positive.var()
    if len(between) == 0 or spread == 0 or between.max() <= 0:
        return Cutoff(len(positive), float(positive[-1]), 0.0)
    k = int(between.argmax()) + 1
    return Cutoff(k, float(positive[k - 1]), float(between.max() / spread))


def _between(ordered: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variance between the first k and the rest, k = 1…n−1; −1 where the cut divides equals."""
    n = len(ordered)
    k = np.arange(1, n)
    sums = np.cumsum(ordered)
    upper, lower = sums[:-1] / k, (sums[-1] - sums[:-1]) / (n - k)
    between = k * (n - k) / n**2 * (upper - lower) ** 2
    return np.where(ordered[:-1] > ordered[1:], between, -1.0)
