"""Whether a behavior's attribution is sparse or diffuse, and where to cut its ranking.

A behavior that a distinct set of pairs taught can be undone by editing that set; a drift that is
everywhere a little cannot, and it is cheaper to know before retraining. Attribution of a pair is
its score, if that is one direction's cosine under the gate (discriminant, gated), else the default
score. The top pairs are those above Otsu's threshold.

How concentrated attribution is decides nothing: a narrow gate or a long tail concentrates any
direction, as the curve shows beside random directions with the datapoint vectors' own covariance
under the same gate. The verdict rests on the *look-alikes* of the top pairs: the pairs of the same
source with the most similar prompts. Where something about such pairs is wrong, their attribution
has one sign. Where the data only lean (chosen is longer a little more often than rejected), it has
both signs, and the top pairs are merely the tail. `towards` is the positive share of their
|attribution|, in [0, 1]; 1/2 is no lean at all. Never reads the truth.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.attribution.index.layout import VectorIndex
from core.attribution.similarity import Query, mean_context, scan
from core.geometry import unit
from core.specs.behaviors import DEFAULT_SCORE, Score

Floats = NDArray[np.floating]
Rows = NDArray[np.int64]
Verdict = Literal["sparse", "mixed", "diffuse", "undecided"]

GATED: tuple[Score, ...] = ("discriminant", "gated")  # one direction, under the gate
DRAWS = 100  # random directions
AT_ONCE = 20  # of them in one pass over the index: memory is AT_ONCE × pairs
SAMPLE = 4000  # pairs whose datapoint vectors span them, at most
SHARES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)  # of the pairs, in the curve
MOST_TOP = 400  # top pairs whose look-alikes are sought, at most
NEIGHBORS = 20  # look-alikes of each
ONE_WAY = 3 / 4  # `towards` of a sparse behavior, at least: three to one
BOTH_WAYS = 2 / 3  # `towards` of a diffuse behavior, at most: two to one
SMALL = 0.15  # share of all pairs that an edit can take and leave the rest as they were


@dataclass(frozen=True)
class Cutoff:
    """Take the `k` pairs that score at least `threshold`."""

    k: int
    threshold: float
    separation: float  # between-class share of the positive scores' variance, in [0, 1]


@dataclass(frozen=True)
class Concentration:
    """A behavior's verdict, and what it rests on."""

    verdict: Verdict
    k: int  # pairs above the cut
    share: float  # of all pairs with a score
    towards: float | None  # positive share of the look-alikes' |attribution|; None without any
    evidence: str


def otsu_cutoff(scores: Floats) -> Cutoff:
    """Otsu's threshold of the positive scores (IEEE Trans. SMC 9, 1979), from (n,).

    The cut with the largest variance between its two sides: a first suggestion, made without
    knowing which pairs are at fault. Where scores fall off evenly any cut is arbitrary, and
    `separation` is low. NaN and non-positive scores are never taken. Without two different positive
    scores, all positive ones are.
    """
    positive = np.sort(scores[scores > 0].astype(np.float64))[::-1]  # NaN > 0 is False
    if len(positive) == 0:
        return Cutoff(0, float("inf"), 0.0)
    between, variance = _between(positive), positive.var()
    if len(between) == 0 or variance == 0 or between.max() <= 0:
        return Cutoff(len(positive), float(positive[-1]), 0.0)
    k = int(between.argmax()) + 1
    return Cutoff(k, float(positive[k - 1]), float(between.max() / variance))


def attribution(
    index: VectorIndex, layer: int, query: Query, *, method: Score, centered: bool
) -> Floats:
    """The score that the verdict is on, (pair,), in index order."""
    (scores,) = scan(index, layer, [query], bank=False, centered=centered)
    column: Floats = scores[method if method in GATED else DEFAULT_SCORE].to_numpy()
    return column


def random_directions(
    index: VectorIndex, layer: int, query: Query, *, centered: bool, seed: int = 0
) -> Floats:
    """Null for `curve`: shares of attribution under random directions, (draw, share).

    Directions are Gaussian with the datapoint vectors' covariance, gated as the query is. Each
    replaces the behavior vector or the discriminant, so they are a null for both.
    """
    rng = np.random.default_rng(seed)
    vectors = _sample(index, layer, rng)
    shares = []
    for start in range(0, DRAWS, AT_ONCE):
        weights = rng.normal(size=(min(AT_ONCE, DRAWS - start), len(vectors)))
        directions = (weights - weights.mean(axis=1, keepdims=True)) @ vectors
        queries = [replace(query, pooled=d.astype(np.float32)) for d in directions]
        tables = scan(index, layer, queries, bank=False, centered=centered)
        shares.append(_lorenz(np.stack([table["gated"].to_numpy() for table in tables])))
    return np.concatenate(shares)


def curve(scores: Floats, null: Floats) -> pd.DataFrame:
    """One row per `share` of the pairs: its top pairs' share of all positive `attribution`.

    `null_low, null, null_high` are the 2.5, 50 and 97.5% quantiles of `random_directions`.
    """
    low, middle, high = np.nanquantile(null, [0.025, 0.5, 0.975], axis=0)
    columns = {"attribution": _lorenz(scores[None])[0]}
    columns |= {"null_low": low, "null": middle, "null_high": high}
    return pd.DataFrame({"share": SHARES, **columns})


def assess(scores: Floats, lookalike_rows: Rows) -> Concentration:
    """The verdict on attributions, (pair,), given rows of the top pairs' look-alikes, (n,)."""
    cut = otsu_cutoff(scores)
    share = cut.k / max(1, int(np.isfinite(scores).sum()))
    of_lookalikes = np.nan_to_num(scores[lookalike_rows])  # no score: no known attribution
    total = float(np.abs(of_lookalikes).sum())
    towards = float(of_lookalikes[of_lookalikes > 0].sum()) / total if total else None
    verdict = _verdict(towards, share)
    return Concentration(verdict, cut.k, share, towards, _evidence(verdict, cut.k, share, towards))


def undecided(concentration: Concentration) -> Concentration:
    """The same figures without a verdict: for a vector that does not beat chance."""
    evidence = "Undecided: the behavior vector does not beat chance, so neither does its ranking."
    return replace(concentration, verdict="undecided", evidence=evidence)


def lookalikes(
    index: VectorIndex, layer: int, scores: Floats, source: NDArray[np.object_], *, seed: int = 0
) -> Rows:
    """Rows of the top pairs' look-alikes, each as often as it is one: (n,).

    For each top pair (or a random `MOST_TOP` of them): the `NEIGHBORS` other pairs of its source
    whose context vectors, less the mean context, are nearest by cosine. `source` is (pair,). Exact,
    one block of the index at a time.
    """
    k = otsu_cutoff(scores).k
    top = np.argsort(-np.where(np.isnan(scores), -np.inf, scores), kind="stable")[:k]
    if k > MOST_TOP:
        top = np.random.default_rng(seed).choice(top, MOST_TOP, replace=False)
    mean = mean_context(index, layer)
    contexts = unit(index.rows(layer, "context", top) - mean)
    nearest = np.full((len(top), NEIGHBORS), -1, np.int64)
    cosines = np.full((len(top), NEIGHBORS), -np.inf, np.float32)
    start = 0
    for block in index.blocks(layer):
        rows = np.arange(start, start + len(block.uids))
        cosine = contexts @ unit(block.context.astype(np.float32) - mean).T  # (top, pair)
        eligible = (source[top][:, None] == source[rows][None]) & (top[:, None] != rows[None])
        eligible &= ~np.isnan(cosine)  # a pair without a context vector is no lookalike
        both = np.concatenate([cosines, np.where(eligible, cosine, -np.inf)], axis=1)
        both_rows = np.concatenate([nearest, np.broadcast_to(rows, cosine.shape)], axis=1)
        best = np.argpartition(-both, NEIGHBORS - 1, axis=1)[:, :NEIGHBORS]
        cosines = np.take_along_axis(both, best, axis=1)
        nearest = np.take_along_axis(both_rows, best, axis=1)
        start += len(rows)
    defined: Rows = nearest[np.isfinite(cosines)]
    return defined


def _between(ordered: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variance between the first k and the rest, k = 1…n−1; −1 where the cut divides equals."""
    n = len(ordered)
    k = np.arange(1, n)
    sums = np.cumsum(ordered)
    upper, lower = sums[:-1] / k, (sums[-1] - sums[:-1]) / (n - k)
    between = k * (n - k) / n**2 * (upper - lower) ** 2
    return np.where(ordered[:-1] > ordered[1:], between, -1.0)


def _sample(index: VectorIndex, layer: int, rng: np.random.Generator) -> Floats:
    """Datapoint vectors of a random sample of pairs, each of length 1, (pair, d_model)."""
    n = len(index.uids)
    numbers = np.sort(rng.choice(n, min(SAMPLE, n), replace=False))
    vectors = unit(index.rows(layer, "datapoint", numbers)).astype(np.float64)
    defined: Floats = vectors[np.isfinite(vectors).all(axis=1)]
    return defined


def _lorenz(scores: Floats) -> Floats:
    """Share of all positive attribution in the top `SHARES` of (draw, pair): (draw, share)."""
    attribution = np.sort(np.where(scores > 0, scores, 0.0), axis=1)[:, ::-1]  # NaN > 0: False
    sums: Floats = np.cumsum(attribution, axis=1, dtype=np.float64)
    ends = [max(1, round(share * scores.shape[1])) - 1 for share in SHARES]
    with np.errstate(invalid="ignore"):
        return np.divide(sums[:, ends], sums[:, -1:])


def _verdict(towards: float | None, share: float) -> Verdict:
    if towards is None:
        return "undecided"
    if towards <= BOTH_WAYS:
        return "diffuse"
    return "sparse" if towards >= ONE_WAY and share <= SMALL else "mixed"


def _evidence(verdict: Verdict, k: int, share: float, towards: float | None) -> str:
    if towards is None:
        return "Undecided: no pair stands out, or none has another of its source beside it."
    size = f"{k:,} pairs ({share:.1%} of all) stand out"
    similar = f"of the attribution of similar pairs (same source, similar prompts), {towards:.0%}"
    if verdict == "sparse":
        return (
            f"Sparse: {size}, and {similar} is towards the behavior: one kind of pairs is at "
            "fault. Editing them should undo it."
        )
    if verdict == "mixed":
        return (
            f"Mixed: {size}, and {similar} is towards the behavior. Editing them may undo a part "
            "of it, or cost more than the behavior is worth."
        )
    return (
        f"Diffuse: {size}, but {similar} is towards the behavior and the rest away from it: the "
        "data lean as a whole. Removing the top pairs undoes a part of it at most."
    )
