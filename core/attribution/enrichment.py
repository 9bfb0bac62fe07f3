"""Does a source, or a model that wrote completions, stand out among the selected pairs?

For each value of `source`, `chosen_model` and `rejected_model`: its share among the selected pairs
with an exact binomial interval, beside its share of all pairs, and the chance that so many or more
are drawn at random without replacement (hypergeometric). Many values are tested at once, so the
chances are corrected over all of them (Benjamini and Hochberg, J. R. Stat. Soc. B 57, 1995): among
the values with q ≤ 0.05, at most 5% are expected to be there by chance. A pair without a value
counts for no value. Knows neither recipes nor what is at fault.
"""

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import betaincinv, gammaln, logsumexp

from core.data.pair_table import PairColumns

COLUMNS = ("source", "chosen_model", "rejected_model")
LEVEL = 0.95
STANDS_OUT = 0.05  # q of a value that is called enriched

Floats = NDArray[np.float64]
Columns = pd.DataFrame | PairColumns


def origins(pairs: Columns, selected: Collection[str]) -> pd.DataFrame:
    """One row per value: `column, value, n, selected, share, low, high, base, enrichment, p, q`.

    `pairs` are columns by name, with unique `uid`s; `selected` names some. `base` is the share of
    all pairs, `enrichment` share over base; most enriched first. Columns that the pairs lack are
    left out.
    """
    chosen = pairs["uid"].isin(list(selected)).to_numpy(bool)
    given = [name for name in COLUMNS if name in pairs and pairs[name].notna().any()]
    found = pd.concat([_of_column(pairs, chosen, name) for name in given], ignore_index=True)
    found["q"] = corrected(found["p"].to_numpy())
    order = ["q", "enrichment"]
    return found.sort_values(order, ascending=[True, False], kind="stable", ignore_index=True)


def at_least(drawn: int, size: int, marked: int, total: int) -> float:
    """P(X ≥ drawn) for X marked ones among `size` draws, without replacement, from `total`."""
    counts = np.arange(max(drawn, size - (total - marked)), min(size, marked) + 1)
    if len(counts) == 0:
        return 0.0
    ways = _choose(marked, counts) + _choose(total - marked, size - counts) - _choose(total, size)
    return float(min(1.0, np.exp(logsumexp(ways))))


def corrected(p: Floats) -> Floats:
    """Benjamini–Hochberg q-values of p-values, (n,)."""
    order = np.argsort(p)
    steps = p[order] * len(p) / np.arange(1, len(p) + 1)
    q = np.empty_like(steps)
    q[order] = np.minimum(1.0, np.minimum.accumulate(steps[::-1])[::-1])
    return q


def share_interval(k: int, n: int) -> tuple[float, float]:
    """Exact (Clopper–Pearson) 95% interval of k in n; NaN where n is 0."""
    if n == 0:
        return float("nan"), float("nan")
    tail = (1 - LEVEL) / 2
    low = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, tail))
    high = 1.0 if k == n else float(betaincinv(k + 1, n - k, 1 - tail))
    return low, high


def _of_column(pairs: Columns, chosen: NDArray[np.bool_], column: str) -> pd.DataFrame:
    values = pairs[column]
    known = values.notna().to_numpy(bool)
    total, size = int(known.sum()), int((known & chosen).sum())
    everywhere = values[known].astype(str).value_counts()
    among = values[known & chosen].astype(str).value_counts()
    found = pd.DataFrame({"value": everywhere.index, "n": everywhere.to_numpy(int)})
    found["selected"] = among.reindex(everywhere.index, fill_value=0).to_numpy(int)
    found["share"] = found["selected"] / size if size else np.nan
    alike = found[["n", "selected"]].drop_duplicates()  # few, however many values there are
    of_each = [
        (n, k, *share_interval(k, size), at_least(k, size, n, total))
        for n, k in alike.itertuples(index=False, name=None)
    ]
    chances = pd.DataFrame(of_each, columns=["n", "selected", "low", "high", "p"])
    found = found.merge(chances, on=["n", "selected"], how="left").assign(column=column)
    found["base"] = found["n"] / total
    found["enrichment"] = found["share"] / found["base"]
    names = ["column", "value", "n", "selected", "share", "low", "high", "base", "enrichment", "p"]
    return found[names]


def _choose(n: int, k: Any) -> Floats:
    """ln of n over k, for a number or (n,) of them."""
    ways: Floats = gammaln(n + 1) - gammaln(np.add(k, 1)) - gammaln(np.subtract(n, k) + 1)
    return ways
