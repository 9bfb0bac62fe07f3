"""Sparse or diffuse: do a few pairs stand apart as a behavior's cause, or do all add a little?

A behavior that a distinct set of pairs taught can be undone by editing that set; one that is
everywhere a little cannot, and it is cheaper to know before retraining. Attribution of a pair is
its positive gated similarity. Two questions:

- Do the pairs fall into two kinds? Otsu's separation (core.attribution.cutoff): the share of the
  positive scores' variance that lies between the two sides of the best cut.
- Is the upper kind small? Its size k as a share of all pairs.

Scores always have a tail, more so where the gate or a length leaves few pairs, so the null is what
these very pairs show for a direction that nobody asked about: random directions with the datapoint
vectors' own covariance, under the same gate. Sources, lengths, norms and contexts are thereby
matched exactly. A second control looks at look-alikes: pairs outside the upper kind, of the same
source, alike in norm and in how much longer chosen is than rejected; where they carry nearly as
much, the cut divides equals. Reads no truth.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from core.attribution.cutoff import suggest
from core.attribution.index import VectorIndex
from core.attribution.similarity import Query, scan, unit

Floats = NDArray[np.floating]
Verdict = Literal["sparse", "mixed", "diffuse", "undecided"]

DRAWS = 100  # random directions
AT_ONCE = 20  # of them in one pass over the index: memory is AT_ONCE × pairs
SAMPLE = 4000  # pairs whose datapoint vectors span them, at most
SHARES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)  # of the pairs, in the curve
APART = 0.05  # chance of so much separation under the null: two kinds of pairs
UNSURE = 0.20  # above it: one kind
SMALL = 0.15  # of all pairs, the most that an edit can take and leave the rest as they were
NEIGHBORS = 5  # look-alikes of each pair


@dataclass(frozen=True)
class Concentration:
    """What a behavior's attribution looks like, against its nulls."""

    verdict: Verdict
    k: int  # pairs in the upper kind
    share: float  # of all pairs
    separation: float  # in [0, 1]
    null_separation: float  # its 95th percentile under the null
    p_value: float  # share of random directions that separate as well; at least 1 / (DRAWS + 1)
    lookalikes: float | None  # mean attribution of look-alikes over that of the upper kind
    evidence: str


@dataclass(frozen=True)
class Null:
    """What the same pairs show for random directions."""

    separation: Floats  # (draw,)
    held: Floats  # (draw, share) of all attribution in the best of each of `SHARES`


def gated_scores(index: VectorIndex, layer: int, query: Query, *, centered: bool) -> pd.DataFrame:
    """`uid, gated, norm` of every pair at one layer, in index order."""
    (scores,) = scan(index, layer, [query], bank=False, centered=centered)
    return scores[["uid", "gated", "norm"]]


def random_directions(
    index: VectorIndex, layer: int, query: Query, *, centered: bool, seed: int = 0
) -> Null:
    """Directions with the covariance of the datapoint vectors, under the gate of the query."""
    rng = np.random.default_rng(seed)
    rows = _sample(index, layer, rng)
    separation, held = [], []
    for start in range(0, DRAWS, AT_ONCE):
        weights = rng.normal(size=(min(AT_ONCE, DRAWS - start), len(rows)))
        directions = (weights - weights.mean(axis=1, keepdims=True)) @ rows
        queries = [Query(query.behavior, query.context, d.astype(np.float32)) for d in directions]
        tables = scan(index, layer, queries, bank=False, centered=centered)
        scores = [table["gated"].to_numpy() for table in tables]
        separation += [suggest(row).separation for row in scores]
        held.append(_held(np.stack(scores)))
    return Null(np.array(separation), np.concatenate(held))


def assess(scores: Floats, null: Null, pairs: pd.DataFrame) -> Concentration:
    """The verdict on gated scores, (pair,), given their null.

    `pairs` holds `source`, `norm` and `longer` (tokens of chosen − rejected) in the same order.
    """
    cut = suggest(scores)
    chance = null.separation
    p_value = (1 + int((chance >= cut.separation).sum())) / (1 + len(chance))
    share = cut.k / max(1, int(np.isfinite(scores).sum()))
    carried = lookalikes(scores, cut.k, pairs)
    verdict = _verdict(p_value, share)
    return Concentration(
        verdict=verdict,
        k=cut.k,
        share=share,
        separation=cut.separation,
        null_separation=float(np.quantile(chance, 1 - APART)),
        p_value=p_value,
        lookalikes=carried,
        evidence=_evidence(verdict, cut.k, share, p_value, carried),
    )


def undecided(found: Concentration) -> Concentration:
    """The same figures without a verdict: for a vector that does not beat chance."""
    said = "Undecided: the behavior vector does not beat chance, so neither does what it ranks."
    return replace(found, verdict="undecided", evidence=said)


def curve(scores: Floats, null: Null) -> pd.DataFrame:
    """`share` of the pairs, what its best pairs hold of all `attribution`, and the null's range."""
    low, middle, high = np.nanquantile(null.held, [0.025, 0.5, 0.975], axis=0)
    own = _held(scores[None])[0]
    columns = {"attribution": own, "null_low": low, "null": middle, "null_high": high}
    return pd.DataFrame({"share": SHARES, **columns})


def lookalikes(scores: Floats, k: int, pairs: pd.DataFrame) -> float | None:
    """Mean attribution of the k best pairs' look-alikes, as a share of their own mean.

    None where nothing is positive, or no source has a pair that is not among the k.
    """
    attribution = np.where(scores > 0, scores, 0.0)  # NaN > 0 is False
    top = np.zeros(len(scores), bool)
    top[np.argsort(-attribution, kind="stable")[:k]] = True
    features = pairs[["longer", "norm"]].to_numpy(float)
    spread = np.nanstd(features, axis=0)
    features = np.nan_to_num(features / np.where(spread > 0, spread, 1))
    found = []
    for _, rows in pd.Series(np.arange(len(pairs))).groupby(pairs["source"].to_numpy()):
        own = rows.to_numpy()
        inside, outside = own[top[own]], own[~top[own]]
        if len(inside) and len(outside):
            near = cKDTree(features[outside]).query(
                features[inside], k=min(NEIGHBORS, len(outside))
            )[1]
            found.append(attribution[outside][near.reshape(len(inside), -1)].mean(axis=1))
    if not found or attribution[top].sum() == 0:
        return None
    return float(np.concatenate(found).mean() / attribution[top].mean())


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


def _verdict(p_value: float, share: float) -> Verdict:
    if p_value > UNSURE:
        return "diffuse"
    return "sparse" if p_value <= APART and share <= SMALL else "mixed"


def _evidence(verdict: Verdict, k: int, share: float, p_value: float, carried: float | None) -> str:
    alike = "" if carried is None else f" Look-alikes outside carry {carried:.0%} as much."
    size = f"{k:,} pairs, {share:.1%} of all,"
    if verdict == "sparse":
        return (
            f"Sparse: {size} stand apart from the rest, as at most {p_value:.1%} of random "
            f"directions make pairs do.{alike} Editing them should undo the behavior."
        )
    if verdict == "mixed":
        return (
            f"Mixed: {size} stand somewhat apart (random directions do as well with a chance of "
            f"{p_value:.0%}).{alike} Editing them may undo a part of the behavior."
        )
    return (
        f"Diffuse: no set of pairs stands apart; {p_value:.0%} of random directions divide the "
        f"pairs as well.{alike} Expect little from removing the top of this ranking."
    )
