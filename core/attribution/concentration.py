"""Sparse or diffuse: are a few pairs at fault, or does the whole dataset lean a little?

A behavior that a distinct set of pairs taught can be undone by editing that set; a drift that is
everywhere a little cannot, and it is cheaper to know before retraining. Attribution of a pair is
the ranking's score where that is a direction's cosine under the gate (discriminant, gated), else
the default's; the best are those above Otsu's cut (core.attribution.threshold).

How far attribution is concentrated decides nothing: a narrow gate or a long tail concentrates any
direction, as the curve shows beside random directions with the datapoint vectors' own covariance
under the same gate. What tells is how the best pairs' *look-alikes* push: the pairs of the same
source with the most similar prompts. Where something about such pairs is wrong, they push the same
way. Where the data only lean (chosen is longer a little more often than rejected), look-alikes push
both ways, and the best pairs are merely those that happened to push far. `towards` is the share of
all their push, |attribution|, that is towards the behavior: 1/2 is no lean at all. Reads no truth.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.attribution.index.layout import VectorIndex
from core.attribution.similarity import Query, mean_context, scan
from core.attribution.threshold import suggest
from core.geometry import unit
from core.specs.behaviors import DEFAULT_SCORE, Score

Floats = NDArray[np.floating]
Verdict = Literal["sparse", "mixed", "diffuse", "undecided"]

GATED: tuple[Score, ...] = ("discriminant", "gated")  # one direction, under the gate
DRAWS = 100  # random directions
AT_ONCE = 20  # of them in one pass over the index: memory is AT_ONCE × pairs
SAMPLE = 4000  # pairs whose datapoint vectors span them, at most
SHARES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)  # of the pairs, in the curve
ASKED = 400  # of the best pairs, at most, whose look-alikes are looked at
NEIGHBORS = 20  # look-alikes of each
ONE_WAY = 3 / 4  # of the push of look-alikes, from here on: three to one, a kind of pairs at fault
BOTH_WAYS = 2 / 3  # up to here: at most two to one, a lean
SMALL = 0.15  # of all pairs, the most that an edit can take and leave the rest as they were


@dataclass(frozen=True)
class Concentration:
    """A behavior's verdict, and what it rests on."""

    verdict: Verdict
    k: int  # pairs above the cut
    share: float  # of all pairs with a score
    towards: float | None  # of the look-alikes' push; None where there are none
    evidence: str


def attribution(
    index: VectorIndex, layer: int, query: Query, *, method: Score, centered: bool
) -> Floats:
    """What the verdict is on: a gated direction's score of every pair, (pair,), in index order."""
    (scores,) = scan(index, layer, [query], bank=False, centered=centered)
    found: Floats = scores[method if method in GATED else DEFAULT_SCORE].to_numpy()
    return found


def random_directions(
    index: VectorIndex, layer: int, query: Query, *, centered: bool, seed: int = 0
) -> Floats:
    """What the best pairs hold of all attribution under random directions, (draw, share).

    Their covariance is the datapoint vectors', and the gate is the query's: each stands where the
    behavior vector or the discriminant stood, so they are a null for both.
    """
    rng = np.random.default_rng(seed)
    rows = _sample(index, layer, rng)
    held = []
    for start in range(0, DRAWS, AT_ONCE):
        weights = rng.normal(size=(min(AT_ONCE, DRAWS - start), len(rows)))
        directions = (weights - weights.mean(axis=1, keepdims=True)) @ rows
        queries = [Query(query.behavior, query.context, d.astype(np.float32)) for d in directions]
        tables = scan(index, layer, queries, bank=False, centered=centered)
        held.append(_held(np.stack([table["gated"].to_numpy() for table in tables])))
    return np.concatenate(held)


def curve(scores: Floats, null: Floats) -> pd.DataFrame:
    """`share` of the pairs, what its best hold of all positive `attribution`, the null's range."""
    low, middle, high = np.nanquantile(null, [0.025, 0.5, 0.975], axis=0)
    own = _held(scores[None])[0]
    columns = {"attribution": own, "null_low": low, "null": middle, "null_high": high}
    return pd.DataFrame({"share": SHARES, **columns})


def assess(scores: Floats, alike: NDArray[np.int64]) -> Concentration:
    """The verdict on attributions, (pair,), given rows of the best pairs' look-alikes."""
    cut = suggest(scores)
    share = cut.k / max(1, int(np.isfinite(scores).sum()))
    push = np.nan_to_num(scores[alike])  # a pair without a score pushes nowhere that we know of
    total = float(np.abs(push).sum())
    towards = float(push[push > 0].sum()) / total if total else None
    verdict = _verdict(towards, share)
    return Concentration(verdict, cut.k, share, towards, _evidence(verdict, cut.k, share, towards))


def undecided(found: Concentration) -> Concentration:
    """The same figures without a verdict: for a vector that does not beat chance."""
    said = "Undecided: the behavior vector does not beat chance, so neither does what it ranks."
    return replace(found, verdict="undecided", evidence=said)


def lookalikes(
    index: VectorIndex, layer: int, scores: Floats, source: NDArray[np.object_], *, seed: int = 0
) -> NDArray[np.int64]:
    """Rows of the best pairs' look-alikes, each as often as it is one: (n,).

    For each pair above the cut (or a random `ASKED` of them): the `NEIGHBORS` other pairs of its
    source whose context vectors are nearest by cosine, less the mean context.
    """
    k = suggest(scores).k
    best = np.argsort(-np.where(np.isnan(scores), -np.inf, scores), kind="stable")[:k]
    if k > ASKED:
        best = np.random.default_rng(seed).choice(best, ASKED, replace=False)
    mean = mean_context(index, layer)
    asked = unit(_rows(index, layer, best) - mean)
    found = np.full((len(best), NEIGHBORS), -1, np.int64)
    nearest = np.full((len(best), NEIGHBORS), -np.inf, np.float32)
    start = 0
    for block in index.blocks(layer):
        rows = np.arange(start, start + len(block.uids))
        cosines = asked @ unit(block.context.astype(np.float32) - mean).T  # (asked, pair)
        other = (source[best][:, None] == source[rows][None]) & (best[:, None] != rows[None])
        other &= ~np.isnan(cosines)  # a pair without a context vector is like no other
        nearest, found = _nearer(nearest, found, np.where(other, cosines, -np.inf), rows)
        start += len(rows)
    kept: NDArray[np.int64] = found[np.isfinite(nearest)]
    return kept


def _nearer(
    nearest: Floats, found: NDArray[np.int64], cosines: Floats, rows: NDArray[np.int64]
) -> tuple[Floats, NDArray[np.int64]]:
    """The nearest of those known so far and of a block, (asked, NEIGHBORS) each."""
    near = np.concatenate([nearest, cosines], axis=1)
    named = np.concatenate([found, np.broadcast_to(rows, cosines.shape)], axis=1)
    best = np.argpartition(-near, NEIGHBORS - 1, axis=1)[:, :NEIGHBORS]
    return np.take_along_axis(near, best, axis=1), np.take_along_axis(named, best, axis=1)


def _rows(index: VectorIndex, layer: int, wanted: NDArray[np.int64]) -> Floats:
    """Context vectors of some pairs, (n, d_model), in the order asked for."""
    taken: Floats = np.empty((len(wanted), index.d_model), np.float32)
    start = 0
    for block in index.blocks(layer):
        stop = start + len(block.uids)
        inside = (wanted >= start) & (wanted < stop)
        taken[inside] = block.context[wanted[inside] - start]
        start = stop
    return taken


def _sample(index: VectorIndex, layer: int, rng: np.random.Generator) -> Floats:
    """Datapoint vectors of a random sample of pairs, each of length 1, (pair, d_model)."""
    total = len(index.uids)
    wanted = np.sort(rng.choice(total, min(SAMPLE, total), replace=False))
    parts, start = [], 0
    for block in index.blocks(layer):
        stop = start + len(block.uids)
        inside = wanted[(wanted >= start) & (wanted < stop)] - start
        parts.append(unit(block.datapoint[inside]))
        start = stop
    rows = np.concatenate(parts).astype(np.float64)
    defined: Floats = rows[np.isfinite(rows).all(axis=1)]
    return defined


def _held(scores: Floats) -> Floats:
    """Share of all positive attribution in the best of each of `SHARES`, (draw, share)."""
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
    size = f"{k:,} pairs ({share:.1%} of all)"
    alike = f"of all the push of pairs like them (same source, similar prompts), {towards:.0%}"
    if verdict == "sparse":
        return (
            f"Sparse: {size} stand out, and {alike} is towards the behavior: a kind of pairs is at "
            "fault. Editing them should undo it."
        )
    if verdict == "mixed":
        return (
            f"Mixed: {size} stand out, and {alike} is towards the behavior. Editing them may undo "
            "a part of it, or cost more than the behavior is worth."
        )
    return (
        f"Diffuse: {size} stand out, but {alike} is towards the behavior and the rest away from "
        "it: the data lean as a whole. Removing the best takes back a part of it at most."
    )
