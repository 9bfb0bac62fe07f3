"""Intervals for rates and their differences, with the right unit resampled.

Completions of one prompt resemble each other, so prompts are resampled, not completions; two arms
measured on the same prompts are compared prompt by prompt; and because retraining itself varies,
an intervention is judged with training seeds as the unit. All intervals are 95%. Knows nothing of
behaviors or judges: unscored completions are to be left out, and counted, before.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtrit

DRAWS = 4000
LEVEL = 0.95
LEAST_SEEDS = 3

Array = np.ndarray[Any, np.dtype[np.float64]]


class Interval(NamedTuple):
    """A mean with its 95% interval; `n` counts the units that were resampled."""

    value: float
    low: float
    high: float
    n: int


def rate_interval(shown: pd.Series, prompts: pd.Series, *, seed: int = 0) -> Interval:
    """Share of completions with the flag; percentile bootstrap over prompts.

    `shown` holds True or False per completion, `prompts` its prompt's id. A rate of exactly 0 or
    1 leaves the bootstrap without spread, so its open end is the exact binomial bound with
    prompts as the trials: 0 of 40 prompts is an interval up to 8.8%. NaN where nothing is given.
    """
    counts = _counts(shown, prompts)  # (prompt, [shown, all])
    n = len(counts)
    if n == 0:
        return Interval(np.nan, np.nan, np.nan, 0)
    rate = counts[:, 0].sum() / counts[:, 1].sum()
    if rate in (0.0, 1.0):
        bound = 1 - ((1 - LEVEL) / 2) ** (1 / n)
        low, high = (0.0, bound) if rate == 0 else (1 - bound, 1.0)
        return Interval(float(rate), float(low), float(high), n)
    drawn = _resampled(counts, seed)
    return Interval(float(rate), *_percentiles(drawn[:, 0] / drawn[:, 1]), n)


def paired_difference(
    arm: pd.DataFrame, other: pd.DataFrame, flag: str, *, seed: int = 0
) -> Interval:
    """Rate of `arm` minus rate of `other`, over the prompts that both measured.

    Tables of completions with `prompt_id` and a nullable boolean column `flag`; unscored rows are
    left out. Prompts are resampled, each with its completions from both arms.
    """
    both = [_scored_counts(table, flag) for table in (arm, other)]
    shared = both[0].index.intersection(both[1].index)
    if shared.empty:
        raise ValueError("the two arms share no scored prompt, so they cannot be paired")
    counts = np.hstack([table.loc[shared].to_numpy(dtype=float) for table in both])
    value = _difference(counts.sum(0, keepdims=True))[0]
    drawn = _difference(_resampled(counts, seed))
    return Interval(float(value), *_percentiles(drawn), len(shared))


def seed_interval(values: Sequence[float]) -> Interval:
    """Mean over training seeds with a Student interval (few seeds make a bootstrap too narrow).

    Raises `ValueError` for fewer than three seeds: their spread says nothing. Not cut to [0, 1].
    """
    found = np.asarray(values, dtype=float)
    if len(found) < LEAST_SEEDS:
        raise ValueError(f"{len(found)} seeds; an interval over seeds needs {LEAST_SEEDS}")
    times = stdtrit(len(found) - 1, (1 + LEVEL) / 2)
    half = times * found.std(ddof=1) / np.sqrt(len(found))
    mean = found.mean()
    return Interval(float(mean), float(mean - half), float(mean + half), len(found))


def seed_rate_interval(rates: Sequence[float]) -> Interval:
    """`seed_interval` of rates, cut to [0, 1]."""
    found = seed_interval(rates)
    return found._replace(low=max(0.0, found.low), high=min(1.0, found.high))


def _scored_counts(table: pd.DataFrame, flag: str) -> pd.DataFrame:
    scored = table[table[flag].notna()]
    return scored.groupby("prompt_id")[flag].agg(["sum", "count"])


def _counts(shown: pd.Series, prompts: pd.Series) -> Array:
    """(prompt, [shown, all])"""
    grouped = shown.astype(bool).groupby(prompts.to_numpy(), sort=True)
    return grouped.agg(["sum", "count"]).to_numpy(dtype=float)


def _resampled(counts: Array, seed: int) -> Array:
    """(draw, column) sums over prompts drawn with replacement."""
    n = len(counts)
    times = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=DRAWS)
    return times @ counts


def _difference(sums: Array) -> Array:
    """Columns are shown and all of one arm, then of the other."""
    return sums[:, 0] / sums[:, 1] - sums[:, 2] / sums[:, 3]


def _percentiles(drawn: Array) -> tuple[float, float]:
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
