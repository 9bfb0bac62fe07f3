"""Confidence intervals, with the right unit resampled, and exact tests.

Completions of one prompt resemble each other, so prompts are resampled, not completions; and
because retraining itself varies, an intervention is judged with training seeds as the unit. All
intervals are 95%. Knows nothing of behaviors or judges: unscored completions must be left out, and
counted, before.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy  # `scipy.stats` loads at its first use: half a second
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, stdtrit

DRAWS = 4000
TAIL = 0.025  # of a 95% interval, on either side
LEAST_SEEDS = 3
ORIGINS = ("source", "chosen_model", "rejected_model")  # columns that say where a pair is from
STANDS_OUT = 0.05  # q of a value that is called enriched

Array = NDArray[np.float64]


class Interval(NamedTuple):
    """An estimate with its 95% interval; `n` counts the units that were resampled."""

    value: float
    low: float
    high: float
    n: int


def bootstrap(
    statistic: Callable[[NDArray[Any]], NDArray[Any]], n: int, *, seed: int = 0, draws: int = DRAWS
) -> Interval:
    """Percentile bootstrap (Efron 1979) of a statistic over n units drawn with replacement.

    `statistic` takes `(draw, n)` counts, how often each unit was drawn, and returns `(draw,)`
    values; the estimate is its value on all units once. Draws on which it is undefined (NaN) are
    left out. All NaN where n is 0 or the estimate is undefined.
    """
    value = float(statistic(np.ones((1, n)))[0]) if n else np.nan
    if np.isnan(value):
        return Interval(np.nan, np.nan, np.nan, n)
    times = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=draws)
    low, high = np.nanquantile(statistic(times), [TAIL, 1 - TAIL])
    return Interval(value, float(low), float(high), n)


def rate_interval(flags: pd.Series, prompts: pd.Series, *, seed: int = 0) -> Interval:
    """Share of completions with the flag, in [0, 1]; percentile bootstrap over prompts.

    `flags` holds True or False per completion, `prompts` its prompt's id. A rate of exactly 0 or
    1 leaves the bootstrap without spread, so its open end is the exact binomial bound with
    prompts as the trials: 0 of 40 prompts is an interval up to 8.8%. NaN without completions.
    """
    grouped = flags.astype(bool).groupby(prompts.to_numpy(), sort=True)
    counts = grouped.agg(["sum", "count"]).to_numpy(dtype=float)  # (prompt, [flagged, all])
    n, (flagged, total) = len(counts), counts.sum(0)
    if n and flagged in (0, total):
        bound = float(1 - TAIL ** (1 / n))
        return Interval(0.0, 0.0, bound, n) if flagged == 0 else Interval(1.0, 1 - bound, 1.0, n)
    return bootstrap(lambda times: np.divide(*(times @ counts).T), n, seed=seed)


def change_interval(before: Interval, after: Interval) -> Interval:
    """`after - before` of two rates, from their intervals (MOVER; Newcombe 1998, method 10).

    Takes the two as independent: wider than need be where they are of the same prompts.
    """
    value = after.value - before.value
    low = value - np.hypot(after.value - after.low, before.high - before.value)
    high = value + np.hypot(after.high - after.value, before.value - before.low)
    return Interval(value, float(low), float(high), min(before.n, after.n))


def visible_rise(n: int) -> float:
    """The smallest rate, in (0, 1], whose exact interval is above that of 0 of n prompts.

    1 also where not even n of n is: below six prompts.
    """
    none = 1 - TAIL ** (1 / n)
    seen = np.arange(1, n + 1)
    above = betaincinv(seen, n - seen + 1, TAIL) > none  # Clopper and Pearson 1934
    return float(seen[above][0] / n) if above.any() else 1.0


def seed_interval(values: Sequence[float]) -> Interval:
    """Mean over training seeds with a Student interval (few seeds make a bootstrap too narrow).

    Raises `ValueError` for fewer than three seeds: their spread says nothing. Not cut to [0, 1].
    """
    by_seed = np.asarray(values, dtype=float)
    if len(by_seed) < LEAST_SEEDS:
        raise ValueError(f"{len(by_seed)} seeds; an interval over seeds needs {LEAST_SEEDS}")
    half = stdtrit(len(by_seed) - 1, 1 - TAIL) * by_seed.std(ddof=1) / np.sqrt(len(by_seed))
    mean = by_seed.mean()
    return Interval(float(mean), float(mean - half), float(mean + half), len(by_seed))


def seed_rate_interval(rates: Sequence[float]) -> Interval:
    """`seed_interval` of rates, cut to [0, 1]."""
    interval = seed_interval(rates)
    return interval._replace(low=max(0.0, interval.low), high=min(1.0, interval.high))


def share_interval(successes: ArrayLike, trials: ArrayLike) -> tuple[Array, Array]:
    """Exact (Clopper–Pearson) bounds of shares, elementwise; NaN where there are no trials."""
    k, n = np.asarray(successes, float), np.asarray(trials, float)
    beta = scipy.stats.beta  # its quantiles: `binomtest` takes one share at a time, 5 ms each
    low = np.where(k > 0, beta.ppf(TAIL, k, n - k + 1), 0)
    high = np.where(k < n, beta.ppf(1 - TAIL, k + 1, n - k), 1)
    return np.where(n > 0, low, np.nan), np.where(n > 0, high, np.nan)


def chance_of_at_least(
    successes: ArrayLike, draws: ArrayLike, marked: ArrayLike, total: ArrayLike
) -> Array:
    """P(X ≥ successes), elementwise: X marked ones in draws without replacement (hypergeometric).

    `total` is the size of the population, `marked` how many in it are marked.
    """
    chances: Array = scipy.stats.hypergeom.sf(np.subtract(successes, 1), total, marked, draws)
    return chances


def q_values(p: ArrayLike) -> Array:
    """p-values, (n,), corrected for testing n times (Benjamini–Hochberg 1995), in [0, 1]."""
    corrected: Array = scipy.stats.false_discovery_control(np.asarray(p, float))
    return corrected


def origins(
    pairs: pd.DataFrame | Mapping[str, pd.Series], selected: Collection[str]
) -> pd.DataFrame:
    """One row per value: `column, value, n, selected, share, low, high, base, enrichment, p, q`.

    `pairs` are columns by name, with unique `uid`s; `selected` names some. `share` is of the
    selected pairs, with a 95% interval; `base` of all pairs; `enrichment` is share over base, 1 at
    chance; `p` is the chance of so many or more, `q` is corrected over all values; most significant
    first. Columns that the pairs lack are left out; a pair without a value counts for none.
    """
    is_selected = pairs["uid"].isin(list(selected)).to_numpy(bool)
    columns = [name for name in ORIGINS if name in pairs and pairs[name].notna().any()]
    table = pd.concat([_of_column(pairs[c], is_selected, c) for c in columns], ignore_index=True)
    table["q"] = q_values(table["p"])
    order = ["q", "enrichment"]
    return table.sort_values(order, ascending=[True, False], kind="stable", ignore_index=True)


def _of_column(values: pd.Series, selected: NDArray[np.bool_], column: str) -> pd.DataFrame:
    defined = values.notna().to_numpy(bool)
    total, size = int(defined.sum()), int((defined & selected).sum())
    n = values[defined].astype(str).value_counts()
    k = values[defined & selected].astype(str).value_counts().reindex(n.index, fill_value=0)
    table = pd.DataFrame({"column": column, "value": n.index, "n": n.array, "selected": k.array})
    table["share"] = table["selected"] / size if size else np.nan
    table["low"], table["high"] = share_interval(table["selected"], size)
    table["base"] = table["n"] / total
    table["enrichment"] = table["share"] / table["base"]
    table["p"] = chance_of_at_least(table["selected"], size, table["n"], total)
    return table
