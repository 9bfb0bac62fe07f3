"""Validity of behavior vectors: each layer's vector against itself and against chance.

- split-half: cosine between the mean vectors of two random halves of the prompts, 100 times.
- AUC: how often, on prompts that did not build the vector, a policy completion is further along it
  than a reference completion of the same prompt (ties count half).

Two nulls. Swapped labels: policy and reference change places on a random half of the prompts, in
what builds the vector and in what tests it; chance is the 95th percentile over 200 such swaps, of
the best of all layers.
Random vectors: the cosine between a half's mean and a random direction of the same space. All is
computed from inner products, so the cost does not grow with d_model squared. Never reads the truth,
nor the pairs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from core.attribution.vectors import FEWEST, Activations, BehaviorVectors
from core.specs.behaviors import Behavior

SPLITS = 100  # random halvings of the prompts
SWAPS = 200  # random swaps of the labels
AUC_SPLITS = 20
CHANCE = 0.95  # quantile of a null that a vector has to exceed
AUC_TOLERANCE = 0.01  # layers this close to the best AUC are ordered by split-half

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Trial:
    """Completions that test a vector: which prompt each answers, and which model wrote it."""

    means: Floats  # (m, d_model)
    prompt: NDArray[np.int64]  # (m,) row of the behavior vectors
    is_policy: NDArray[np.bool_]  # (m,)


def layer_curve(
    vectors: BehaviorVectors, activations: Activations, behavior: Behavior, *, seed: int = 0
) -> pd.DataFrame:
    """`assess` of all layers: layers.parquet of docs/architecture.md, one row per layer."""
    trials = [
        (vectors.at(layer)[0], trial_of(vectors, activations, behavior, number))
        for number, layer in enumerate(vectors.layers)
    ]
    curve = pd.DataFrame(assess(trials, seed=seed))
    curve.insert(0, "layer", vectors.layers)
    return curve


def assess(
    trials: Sequence[tuple[Floats, Trial]], *, seed: int = 0
) -> list[dict[str, float | bool]]:
    """Split-half cosine, held-out AUC and their nulls per layer, of vectors (n, d_model) each.

    All NaN for fewer than four prompts, which cannot be split.
    """
    if min(len(behavior) for behavior, _ in trials) < FEWEST:
        undefined = ["split_half", "split_half_low", "split_half_high", "auc"]
        nothing = dict.fromkeys([*undefined, "null_split_half", "null_auc"], np.nan)
        return [nothing | {"beats_null": False} for _ in trials]
    tests = [_swapped(behavior, trial, seed) for behavior, trial in trials]
    splits = _chance(np.stack([cosines.mean(axis=1) for cosines, _, _ in tests]))
    aucs = _chance(np.stack([auc for _, auc, _ in tests]))
    rows: list[dict[str, float | bool]] = []
    for (cosines, auc, random), null_split, null_auc in zip(tests, splits, aucs, strict=True):
        low, high = np.quantile(cosines[0], [0.025, 0.975])
        mean, null_split = float(cosines[0].mean()), max(null_split, random)
        rows.append(
            {
                "split_half": mean,
                "split_half_low": float(low),
                "split_half_high": float(high),
                "auc": float(auc[0]),
                "null_split_half": float(null_split),
                "null_auc": float(null_auc),
                "beats_null": bool(mean > null_split and auc[0] > null_auc),
            }
        )
    return rows


def _swapped(behavior: Floats, trial: Trial, seed: int) -> tuple[Floats, Floats, float]:
    """Of one layer: `split_half` and `held_out_auc`, first unswapped, and the random cosine."""
    rng = np.random.default_rng(seed)  # the same swaps in every layer
    n, width = behavior.shape
    signs = np.concatenate([np.ones((1, n)), rng.choice([-1.0, 1.0], (SWAPS, n))])
    cosines = split_half(behavior, signs, rng)
    return cosines, held_out_auc(behavior, trial, signs, rng), _random_cosine(width, rng)


def _chance(figures: Floats) -> Floats:
    """What each layer has to exceed, (layer,), from figures (layer, 1 + swap), the first unswapped.

    Without an effect one of the layers does so in 5% of cases, not each of them: the one that
    looks best is chosen afterwards. A figure's p is its rank among its layer's swaps, and the
    smallest p of a swap decides (Westfall and Young 1993).
    """
    null = figures[:, 1:]
    ranks = rankdata(-np.nan_to_num(null, nan=-np.inf), method="min", axis=1)
    smallest = ((ranks - 1) / (SWAPS - 1)).min(axis=0)
    quantiles: Floats = np.quantile(null, 1 - np.quantile(smallest, 1 - CHANCE), axis=1)
    return quantiles


def split_half(behavior: Floats, signs: Floats, rng: np.random.Generator) -> Floats:
    """Cosines between half-means, (swap, split) in [−1, 1]; `signs` ±1 (swap, n) swap labels."""
    kernel = behavior.astype(np.float64) @ behavior.T  # (n, n)
    first = _halves(len(behavior), SPLITS, rng)  # (split, n)
    cosines = np.empty((len(signs), SPLITS))
    for number, sign in enumerate(signs):
        a, b = first * sign, ~first * sign
        across = np.einsum("si,ij,sj->s", a, kernel, b, optimize=True)
        norms = [np.einsum("si,ij,sj->s", half, kernel, half, optimize=True) for half in (a, b)]
        with np.errstate(invalid="ignore"):
            cosines[number] = across / np.sqrt(np.prod(norms, axis=0))
    return cosines


def held_out_auc(behavior: Floats, trial: Trial, signs: Floats, rng: np.random.Generator) -> Floats:
    """Mean AUC within held-out prompts, (swap,) in [0, 1]; `signs` ±1 (swap, n) swap labels."""
    along = trial.means.astype(np.float64) @ behavior.T  # (m, n)
    build = _halves(len(behavior), AUC_SPLITS, rng)  # (split, n) prompts that build the vector
    total = np.zeros((len(signs), len(behavior)))
    for chosen in build:
        scores = along @ (signs * chosen).T  # (m, swap)
        for prompt in np.flatnonzero(~chosen):
            asked = trial.prompt == prompt
            auc = _auc(scores[asked & trial.is_policy], scores[asked & ~trial.is_policy])
            total[:, prompt] += np.where(signs[:, prompt] > 0, auc, 1 - auc)
    tested = (~build).sum(axis=0)
    return (total[:, tested > 0] / tested[tested > 0]).mean(axis=1)


def choose_layer(curve: pd.DataFrame) -> int:
    """The layer with the best held-out AUC; near ties go to the highest split-half cosine.

    Layers that beat their null come first. Needs no truth about the pairs. Layer 0 is chosen only
    if it is the only one: before any attention a context is a bag of words, whose gate is coarser,
    and these figures, being about completions, do not show it.
    """
    deep = curve[curve["layer"] > 0] if curve["layer"].gt(0).any() else curve
    valid = deep[deep["beats_null"]] if deep["beats_null"].any() else deep
    best = valid[valid["auc"] >= valid["auc"].max() - AUC_TOLERANCE]
    if best.empty:  # too few prompts to test any layer
        return int(deep["layer"].iloc[len(deep) // 2])
    return int(best.loc[best["split_half"].idxmax(), "layer"])


def verdict(row: Mapping[Any, Any]) -> tuple[bool, str]:
    """Whether to trust a layer's vector, from its row of the curve, and the reason in words."""
    if np.isnan(row["auc"]):
        return False, "Too few prompts show the behavior to test its vector: at least four."
    figures = (
        f"split-half cosine {row['split_half']:.2f} (chance {row['null_split_half']:.2f}), "
        f"held-out AUC {row['auc']:.2f} (chance {row['null_auc']:.2f})"
    )
    if row["beats_null"]:
        return True, f"The vector beats chance: {figures}."
    return False, f"The vector does not beat chance: {figures}. Do not trust its ranking."


def trial_of(
    vectors: BehaviorVectors, activations: Activations, behavior: Behavior, number: int
) -> Trial:
    """The completions behind a behavior's vectors, at the layer in position `number`."""
    rows = activations.completions
    row_of = {prompt: row for row, prompt in enumerate(vectors.prompts["prompt_id"])}
    prompt = rows["prompt_id"].map(row_of)
    is_policy = rows["model"].eq("policy")
    shows = rows[behavior.flag].eq(is_policy).isin([True])  # policy: flagged; reference: not
    used = (prompt.notna() & rows["condition"].eq(behavior.condition) & shows).to_numpy(bool)
    return Trial(
        activations.means[used, number],
        prompt[used].to_numpy(np.int64),
        is_policy[used].to_numpy(bool),
    )


def _auc(upper: Floats, lower: Floats) -> Floats:
    """P(upper > lower) + P(tie) / 2 in each column of (a, column) and (b, column)."""
    differences = upper[:, None] - lower[None]
    auc: Floats = ((differences > 0) + 0.5 * (differences == 0)).mean(axis=(0, 1))
    return auc


def _halves(n: int, count: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Random halves of n things, (count, n)."""
    order = np.argsort(rng.random((count, n)), axis=1)
    halves: NDArray[np.bool_] = order < n // 2
    return halves


def _random_cosine(width: int, rng: np.random.Generator) -> float:
    """95th percentile of |cos| between a fixed and a random direction."""
    random = rng.normal(size=(1000, width))
    return float(np.quantile(np.abs(random[:, 0]) / np.linalg.norm(random, axis=1), CHANCE))
