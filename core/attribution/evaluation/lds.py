"""Does the sum of scores foretell what training on a subset gives? The linear datamodeling score.

Models are retrained on random subsets of the pairs, and measured; a method predicts each outcome
by the sum of its scores over the pairs that the subset holds. The score is Spearman's ρ between
the two over subsets (Ilyas et al. 2022; Park et al. 2023, eq. 3). It judges whole rankings, causes
of both signs, and needs no truth; retraining noise bounds it, so it comes with an interval.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.floating]
Masks = NDArray[np.bool_]
Rows = NDArray[np.int64]  # (draw, n) places of subsets

DRAWS = 1000  # bootstrap draws of the subsets


class Lds(NamedTuple):
    """The score with a 95% percentile bootstrap over subsets."""

    value: float
    low: float
    high: float
    n: int  # subsets


def subsets(n: int, *, count: int, share: float, seed: int) -> Masks:
    """Independent random subsets of `share` of n pairs, (count, n).

    No half comes with its complement: where outcomes follow the pairs, the complement's is known
    from the half's, so two retrainings would count as two and say little more than one.
    """
    if not 0 < share < 1:
        raise ValueError(f"share {share} is not between 0 and 1")
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, n), bool)
    for row in range(count):
        masks[row, rng.permutation(n)[: round(share * n)]] = True
    return masks


def lds(scores: Floats, masks: Masks, outcomes: Floats, *, seed: int = 0) -> Lds:
    """Scores (n,), subsets (count, n), what each retrained model showed (count,).

    A pair without a score predicts nothing: it is in no sum.
    """
    predicted = _sums(scores, masks, outcomes)
    return _interval(lambda rows: _rho(predicted[rows], outcomes[rows]), len(outcomes), seed)


def lds_difference(
    scores: Floats, others: Floats, masks: Masks, outcomes: Floats, *, seed: int = 0
) -> Lds:
    """LDS of one method less that of another, on the same draws of subsets.

    Both are wrong about the same retraining noise, so this is narrower than two intervals suggest.
    """
    one, other = (_sums(given, masks, outcomes) for given in (scores, others))
    return _interval(
        lambda rows: _rho(one[rows], outcomes[rows]) - _rho(other[rows], outcomes[rows]),
        len(outcomes),
        seed,
    )


def _sums(scores: Floats, masks: Masks, outcomes: Floats) -> Floats:
    """(count,) what the scores foretell of each subset."""
    if masks.shape != (len(outcomes), len(scores)):
        raise ValueError(f"{masks.shape} subsets do not fit {len(outcomes)} × {len(scores)}")
    scored = ~np.isnan(scores)
    return masks[:, scored].astype(np.float64) @ scores[scored]


def _interval(statistic: Callable[[Rows], Floats], n: int, seed: int) -> Lds:
    rows = np.random.default_rng(seed).integers(n, size=(DRAWS, n))
    low, high = np.nanquantile(statistic(rows), [0.025, 0.975])
    return Lds(float(statistic(np.arange(n)[None])[0]), float(low), float(high), n)


def _rho(a: Floats, b: Floats) -> Floats:
    """(draw,) Spearman's ρ of two (draw, n); NaN where one of them is constant."""
    one, other = (rankdata(given, axis=1) - (given.shape[1] + 1) / 2 for given in (a, b))
    scale = np.sqrt((one**2).sum(1) * (other**2).sum(1))
    with np.errstate(invalid="ignore"):
        rho: Floats = (one * other).sum(1) / scale
    return rho
