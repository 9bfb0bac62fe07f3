"""Does the sum of scores foretell what training on a subset gives? The linear datamodeling score.

Models are retrained on random subsets of the pairs, and measured; a method predicts each outcome
by the sum of its scores over the pairs that the subset holds. The score is Spearman's ρ between
the two over subsets (Ilyas et al. 2022; Park et al. 2023, eq. 3). It judges whole rankings, causes
of both signs, and needs no truth; retraining noise bounds it, so it comes with an interval.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

Floats = NDArray[np.floating]
Masks = NDArray[np.bool_]

DRAWS = 1000  # bootstrap draws of the subsets


class Lds(NamedTuple):
    """The score with a 95% percentile bootstrap over subsets."""

    value: float
    low: float
    high: float
    n: int  # subsets


def subsets(n: int, *, count: int, share: float, seed: int) -> Masks:
    """Random subsets of `share` of n pairs, (count, n); each with its complement in the next row.

    Complements halve the noise: what one subset lacks, the next one has.
    """
    if not 0 < share < 1:
        raise ValueError(f"share {share} is not between 0 and 1")
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, n), bool)
    for row in range(count):
        if share == 0.5 and row % 2:
            masks[row] = ~masks[row - 1]
        else:
            masks[row, rng.permutation(n)[: round(share * n)]] = True
    return masks


def lds(scores: Floats, masks: Masks, outcomes: Floats, *, seed: int = 0) -> Lds:
    """Scores (n,), subsets (count, n), what each retrained model showed (count,).

    A pair without a score predicts nothing: it is in no sum.
    """
    if masks.shape != (len(outcomes), len(scores)):
        raise ValueError(f"{masks.shape} subsets do not fit {len(outcomes)} × {len(scores)}")
    scored = ~np.isnan(scores)
    predicted = masks[:, scored].astype(np.float64) @ scores[scored]
    rng = np.random.default_rng(seed)
    draws = [_rho(predicted[rows], outcomes[rows]) for rows in _draws(len(outcomes), rng)]
    low, high = np.nanquantile(draws, [0.025, 0.975]) if draws else (np.nan, np.nan)
    return Lds(_rho(predicted, outcomes), float(low), float(high), len(outcomes))


def _draws(n: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Resampled subsets; those with too few different ones say nothing."""
    rows = [rng.integers(n, size=n) for _ in range(DRAWS)]
    return [drawn for drawn in rows if len(set(drawn.tolist())) > 2]


def _rho(a: Floats, b: Floats) -> float:
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(spearmanr(a, b).statistic)
