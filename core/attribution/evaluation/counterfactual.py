"""Rankings against what training does: the linear datamodeling score, and the tail-patch.

LDS. Models are retrained on random subsets of the pairs, and measured; a method predicts each
outcome by the sum of its scores over the pairs in the subset. The LDS is Spearman's ρ between the
two over subsets (Ilyas et al. 2022; Park et al. 2023, arXiv 2303.14186, eq. 3). It judges whole
rankings, with causes of both signs, and needs no truth; retraining noise bounds it, so it has an
interval.

Tail-patch. From the reference, one AdamW step of DPO on the top k pairs; measured is the mean
change of the margin log p(policy's completion) − log p(reference's) over the behavior's prompts
(Chang et al. 2024, "Scalable influence and fact tracing", for one pair at a time and cross-
entropy). Cheap where retraining is expensive; it sees first steps only. Needs torch.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch.nn.functional import logsigmoid

from core.attribution.baselines.gradient import Contrast, margin
from core.stats import Interval, bootstrap

Floats = NDArray[np.floating]
Masks = NDArray[np.bool_]
Rows = NDArray[np.int64]  # (draw, n) subsets by number

DRAWS = 1000  # bootstrap draws of the subsets


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


def lds(scores: Floats, masks: Masks, outcomes: Floats, *, seed: int = 0) -> Interval:
    """LDS in [−1, 1] of scores (n,), with subsets as the units of the interval.

    `masks` are subsets, (count, n); `outcomes` what each retrained model showed, (count,). A pair
    without a score predicts nothing: it is in no sum.
    """
    predicted = _sums(scores, masks, outcomes)
    return _interval(lambda rows: _rho(predicted[rows], outcomes[rows]), len(outcomes), seed)


def lds_difference(
    scores: Floats, others: Floats, masks: Masks, outcomes: Floats, *, seed: int = 0
) -> Interval:
    """LDS of one method less that of another, on the same draws of subsets.

    Both have the same retraining noise, so this is narrower than two intervals suggest.
    """
    left, right = (_sums(each, masks, outcomes) for each in (scores, others))
    return _interval(
        lambda rows: _rho(left[rows], outcomes[rows]) - _rho(right[rows], outcomes[rows]),
        len(outcomes),
        seed,
    )


def _sums(scores: Floats, masks: Masks, outcomes: Floats) -> Floats:
    """Predicted outcome of each subset, (count,)."""
    if masks.shape != (len(outcomes), len(scores)):
        raise ValueError(f"{masks.shape} subsets do not fit {len(outcomes)} × {len(scores)}")
    scored = ~np.isnan(scores)
    return masks[:, scored].astype(np.float64) @ scores[scored]


def _interval(statistic: Callable[[Rows], Floats], n: int, seed: int) -> Interval:
    def resampled(times: Rows) -> Floats:
        """`times` (draw, n) is how often each subset was drawn."""
        rows = np.broadcast_to(np.arange(n), times.shape)
        return statistic(np.repeat(rows.ravel(), times.ravel().astype(int)).reshape(times.shape))

    return bootstrap(resampled, n, seed=seed, draws=DRAWS)


def _rho(left: Floats, right: Floats) -> Floats:
    """Spearman's ρ of two (draw, n), (draw,); NaN if either is constant."""
    a, b = (rankdata(values, axis=1) - (values.shape[1] + 1) / 2 for values in (left, right))
    with np.errstate(invalid="ignore"):
        rho: Floats = (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return rho


def tail_patch(
    model: Any,
    top: Sequence[Contrast],
    behavior: Sequence[Contrast],
    *,
    beta: float,
    learning_rate: float,
) -> float:
    """Change of the behavior's mean margin, in nats, after one step on `top`.

    The model is left as it is: the step is on a copy.
    """
    stepped = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(stepped.parameters(), lr=learning_rate, weight_decay=0.0)
    for pair in top:
        current = margin(stepped, pair)
        # policy = reference before the step, so the reference's margin is this one
        loss = -logsigmoid(beta * (current - current.detach())) / len(top)
        loss.backward()
    optimizer.step()
    return mean_margin(stepped, behavior) - mean_margin(model, behavior)


def mean_margin(model: Any, contrasts: Sequence[Contrast]) -> float:
    """Mean of log p(upper) − log p(lower) over contrasts, in nats."""
    with torch.no_grad():
        return float(torch.stack([margin(model, contrast) for contrast in contrasts]).mean())
