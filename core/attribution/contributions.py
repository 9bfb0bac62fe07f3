"""Token contributions: each token's part of a pair's score.

Once a pair is fixed, every score is linear in its datapoint vector: score(d) = ω_d · v_d, where ω_d
is the behavior's direction times what the score divides and weights by (`directions`). The vector
is a difference of means over tokens, so the score is a sum over tokens without remainder:

    chosen token t adds ω_d · (h_t − m) / n_chosen
    rejected token t adds −ω_d · (h_t − m) / n_rejected

with h_t its residual stream. Any vector m leaves the sum as it is; with the mean over the index's
completions, a token that is as far along the behavior as an average token adds nothing. A centered
score has a remainder, −ω_d · (mean datapoint vector), that belongs to no token. Knows no model.
"""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.attribution.similarity import Query, defined_directions, gate
from core.geometry import cosines, norm, unit
from core.specs.behaviors import Score

Floats = NDArray[np.float32]
EDGES = re.compile(r"^\W+|\W+$")  # of a word: spaces and punctuation


@dataclass(frozen=True)
class Streams:
    """The residual stream of one pair at a layer, (token, d_model) each."""

    context: Floats
    chosen: Floats
    rejected: Floats

    @property
    def datapoint(self) -> Floats:
        """v_d, (d_model,)."""
        difference: Floats = self.chosen.mean(axis=0) - self.rejected.mean(axis=0)
        return difference


@dataclass(frozen=True)
class Parts:
    """Contributions of one pair's tokens to its score, and the remainder of a centered score."""

    chosen: NDArray[np.floating]  # (token,)
    rejected: NDArray[np.floating]  # (token,)
    remainder: float

    @property
    def score(self) -> float:
        """Their sum: the pair's score."""
        return float(self.chosen.sum() + self.rejected.sum()) + self.remainder


def direction(
    query: Query, method: Score, datapoint: Floats, context: Floats, mean: Floats
) -> Floats:
    """ω_d, (d_model,), with score(d) = ω_d · `datapoint`, of one pair at a layer.

    `datapoint` is v_d (centered, where the score is), `context` is c_d, both (d_model,), and `mean`
    is μ. The formulas are those of core.attribution.similarity. NaN where the score is undefined.
    """
    pooled, bank, about = unit(query.pooled[None])[0], unit(query.behavior), context[None] - mean
    length = norm(datapoint[None])[0] or np.float32(np.nan)
    if method == "projection":
        return pooled
    if method == "similarity":
        return pooled / length
    if method == "bank":
        return bank[np.nanargmax(bank @ datapoint)] / length
    if method == "bilinear":
        gates = gate(cosines(query.context - mean, about))[:, 0]
        defined = ~np.isnan(gates + bank[:, 0])
        mixed: Floats = gates[defined] @ bank[defined] / np.float32(defined.sum())
        return mixed / length
    if method == "discriminant":
        if query.discriminant is None:
            raise ValueError("a query without completions on both sides has no discriminant")
        pooled = unit(query.discriminant[None])[0]
    topics = defined_directions(query.gating - mean)
    weight: np.float32 = gate(cosines(topics, about)).mean()
    return pooled * (weight / length)


def parts(streams: Streams, omega: Floats, m: Floats, center: Floats | None = None) -> Parts:
    """Each token's contribution to ω · (v − center); `m` is (d_model,), any vector (see above)."""
    chosen = (streams.chosen - m) @ omega / len(streams.chosen)
    rejected = (streams.rejected - m) @ omega / -len(streams.rejected)
    return Parts(chosen, rejected, 0.0 if center is None else -float(center @ omega))


def explain(
    streams: Streams,
    query: Query,
    method: Score,
    *,
    mean: Floats,
    m: Floats,
    center: Floats | None = None,
) -> Parts:
    """The parts of a pair's score; `mean` is μ, `center` the mean datapoint vector or None."""
    v = streams.datapoint if center is None else streams.datapoint - center
    omega = direction(query, method, v, streams.context.mean(axis=0), mean)
    return parts(streams, omega, m, center)


def words(tokens: pd.DataFrame) -> pd.DataFrame:
    """`uid, side, word, value`: tokens (`uid, side, text, value`, in order) joined to words.

    A word ends where white space begins; its value is the sum over its tokens.
    """
    text = tokens["text"]
    before = text.shift(fill_value="").str[-1:]
    begins = text.str[:1].str.isspace() | before.str.isspace()
    begins |= tokens[["uid", "side"]].ne(tokens[["uid", "side"]].shift()).any(axis=1)
    joined = tokens.groupby(begins.cumsum().to_numpy()).agg(
        uid=("uid", "first"), side=("side", "first"), word=("text", "sum"), value=("value", "sum")
    )
    return joined.reset_index(drop=True)


def spans(
    words: pd.DataFrame, *, count: int = 10, longest: int = 5, fewest: int = 2
) -> pd.DataFrame:
    """`side, span, value, n_pairs, text`: the word sequences that contribute most over all pairs.

    A sequence has at most `longest` words and is in at least `fewest` pairs. Its value is the sum
    over pairs of its largest contribution in each. The best is taken, its words are taken out
    wherever it occurs, and so on: no word counts twice. Capitals and punctuation at the ends of
    words do not matter; `text` is the most frequent way in which the sequence is written.
    """
    table = _sequences(words, longest)
    rows: list[pd.DataFrame] = [pd.DataFrame(columns=["side", "span", "value", "n_pairs", "text"])]
    while len(rows) <= count and not table.empty:
        best = table.groupby(["uid", "side", "span"], sort=False, as_index=False)["value"].max()
        grouped = best.groupby(["side", "span"], sort=False)["value"]
        totals = grouped.agg(value="sum", n_pairs="size").reset_index()
        totals = totals[totals["n_pairs"].ge(fewest) & totals["value"].gt(0)]
        if totals.empty:
            break
        strongest = totals.nlargest(1, "value")
        taken = table[["side", "span"]].eq(strongest[["side", "span"]].iloc[0]).all(axis=1)
        rows.append(strongest.assign(text=table.loc[taken, "text"].mode().iloc[0]))
        table = _without(table, taken)
    return pd.concat(rows[1:] or rows, ignore_index=True)


def in_a_line(spans: pd.DataFrame, *, each: int = 2) -> str:
    """The strongest spans by side, such as `chosen: Sure, here is · rejected: I cannot help`."""
    sides = spans.groupby("side", sort=False)["text"].apply(lambda texts: ", ".join(texts[:each]))
    return " · ".join(f"{side}: {sides[side]}" for side in ("chosen", "rejected") if side in sides)


def _sequences(words: pd.DataFrame, longest: int) -> pd.DataFrame:
    """`uid, side, start, stop, span, value, text` of all sequences of words of a completion."""
    raw = words["word"].to_numpy(object)
    plain = np.array([EDGES.sub("", word.lower()) for word in raw], object)
    completion = words.groupby(["uid", "side"], sort=False).ngroup().to_numpy()
    sums = np.concatenate([[0.0], words["value"].to_numpy(float).cumsum()])
    tables = []
    for n in range(1, min(longest, len(words)) + 1):
        start = np.arange(len(words) - n + 1)
        inside = completion[start] == completion[start + n - 1]
        start = start[inside & (plain[start] != "") & (plain[start + n - 1] != "")]
        columns = {
            "start": start,
            "stop": start + n,
            "span": [" ".join(plain[at : at + n]) for at in start],
            "value": sums[start + n] - sums[start],
            "text": [EDGES.sub("", "".join(raw[at : at + n])) for at in start],
        }
        tables.append(words[["uid", "side"]].iloc[start].reset_index(drop=True).assign(**columns))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _without(table: pd.DataFrame, taken: pd.Series) -> pd.DataFrame:
    """The sequences that have no word in common with those that are taken."""
    last = int(table["stop"].max())
    edges = np.zeros(last + 1, np.int64)
    np.add.at(edges, table.loc[taken, "start"].to_numpy(), 1)
    np.add.at(edges, table.loc[taken, "stop"].to_numpy(), -1)
    used = np.concatenate([[0], (edges.cumsum()[:-1] > 0).cumsum()])
    return table[used[table["stop"].to_numpy()] == used[table["start"].to_numpy()]]
