"""Which sources, or models that wrote completions, are enriched among the selected pairs.

For each value of `source`, `chosen_model` and `rejected_model`: its share of the selected pairs
with an exact binomial interval, beside its share of all pairs, and the chance that so many or more
are drawn at random without replacement (hypergeometric). Many values are tested at once, so the
chances are corrected over all of them: among the values with q ≤ 0.05, at most 5% are expected to
be there by chance (Benjamini & Hochberg, J. R. Stat. Soc. B 57, 1995). A pair without a value
counts for no value. Knows neither recipes nor what is at fault.
"""

from collections.abc import Collection

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.data.pair_table import PairColumns
from core.stats import chance_of_at_least, q_values, share_interval

COLUMNS = ("source", "chosen_model", "rejected_model")
STANDS_OUT = 0.05  # q of a value that is called enriched

Columns = pd.DataFrame | PairColumns


def origins(pairs: Columns, selected: Collection[str]) -> pd.DataFrame:
    """One row per value: `column, value, n, selected, share, low, high, base, enrichment, p, q`.

    `pairs` are columns by name, with unique `uid`s; `selected` names some. `share` is of the
    selected pairs, with a 95% interval; `base` of all pairs; `enrichment` is share over base, 1 at
    chance; most significant first. Columns that the pairs lack are left out.
    """
    is_selected = pairs["uid"].isin(list(selected)).to_numpy(bool)
    columns = [name for name in COLUMNS if name in pairs and pairs[name].notna().any()]
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
