"""Behavior and context vectors: what the policy does differently on a prompt, and what was asked.

A behavior vector is the mean over the policy's completions of one prompt minus the mean over the
reference's, both read through the reference; rollouts are averaged first. For a known behavior,
only prompts that pass the four-condition filter count, and of the policy only the rollouts that
show the behavior: the others differ from the reference's by sampling noise and dilute the vector
(arXiv 2602.11079 also takes completions that show it). A behavior that the reference already
shows here and there passes on few prompts or none; then those on which its rate rises count. For
discovery every prompt and rollout counts. Unscored rollouts belong to neither side. Knows nothing
of models or files.

The direction that tells the policy's completions from the reference's, prompts set aside.

Fisher's linear discriminant (1936): w = Σ⁻¹ (mean of the completions that show the behavior − mean
of those that do not), Σ the covariance of completions within the two sides. What completions vary
in anyway (their prompt's topic, mostly) is damped, so that w holds less of it than the difference
of the means does. With few completions Σ is shrunk towards a multiple of the identity (Ledoit &
Wolf 2004), by a fixed share. Knows activations only.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.attribution.similarity import Query
from core.errors import UserError
from core.specs.behaviors import Behavior

Floats = NDArray[np.float32]
PROMPT = ["prompt_id", "condition"]
FEWEST = 4  # prompts that a vector can be tested with (core.attribution.validity)

Filter = Literal["four-condition", "rising"]


@dataclass(frozen=True)
class Activations:
    """Completions of a generate run with their mean residual streams, read by the reference."""

    completions: pd.DataFrame  # those that have tokens, rows 0…n−1
    means: Floats  # (n, layer, d_model), over each completion's tokens
    prompts: pd.DataFrame  # prompt_id, condition, group, topic, prompt; rows 0…m−1
    contexts: Floats  # (m, layer, d_model), over each prompt's tokens
    layers: tuple[int, ...]
    n_empty: int  # completions without tokens, left out


@dataclass(frozen=True)
class BehaviorVectors:
    """One behavior vector per prompt, at every layer."""

    prompts: pd.DataFrame  # prompt_id, condition, group, topic, prompt
    behavior: Floats  # (n, layer, d_model)
    context: Floats  # (n, layer, d_model)
    rollouts: NDArray[np.int64]  # (n,) the policy's completions behind each row
    layers: tuple[int, ...]
    sides: tuple[Floats, Floats] | None = None  # completions that show it, that do not; by layer

    def at(self, layer: int) -> tuple[Floats, Floats]:
        """Behavior and context vectors of a layer, (n, d_model) each."""
        number = self.layers.index(layer)
        return self.behavior[:, number], self.context[:, number]


@dataclass(frozen=True)
class Passing:
    """The prompts that show a behavior by a filter; how many met each of its conditions."""

    prompt_ids: tuple[Any, ...]
    n_prompts: int  # in the behavior's group and condition
    met: dict[str, int]  # condition of the filter → prompts that meet it
    filter: Filter  # the one that chose the prompts


def passing_prompts(completions: pd.DataFrame, behavior: Behavior) -> Passing:
    """Prompts that the policy shows the behavior on because of its condition, and only then.

    With a distractor: reference never, plain or with it; policy never plain, at least once with
    it. Plain: reference never, policy at least once. A cell without a judged completion meets
    nothing. Where fewer than four prompts pass, those count on which the policy shows it more
    often than the reference, if there are four.
    """
    own = _of_group(completions, behavior)
    asked = own.loc[own["condition"].eq(behavior.condition), "prompt_id"]
    prompt_ids = pd.Index(asked.unique())
    met = {
        wanted: prompt_ids.isin(_prompts_where(own, behavior.flag, *wanted))
        for wanted in _conditions(behavior)
    }
    passes = np.logical_and.reduce(list(met.values()))
    counts = {" ".join(wanted): int(found.sum()) for wanted, found in met.items()}
    rising = prompt_ids.isin(_rising(own, behavior))
    if passes.sum() < FEWEST <= rising.sum():
        return Passing(tuple(prompt_ids[rising]), len(prompt_ids), counts, "rising")
    if not passes.any():
        listed = "; ".join(f"{name}: {n}" for name, n in counts.items())
        raise UserError(
            f"No prompt shows {behavior.name!r} by the filter. Of {len(prompt_ids)} prompts of "
            f"group {behavior.group!r}, so many meet each condition: {listed}. The "
            f"policy shows it more often than the reference on {int(rising.sum())}. Generate more "
            "rollouts or prompts, or correct the behavior's flag, group or condition."
        )
    return Passing(tuple(prompt_ids[passes]), len(prompt_ids), counts, "four-condition")


def showing(
    activations: Activations, behavior: Behavior, prompt_ids: Sequence[Any]
) -> BehaviorVectors:
    """Vectors of the prompts that pass: policy completions that show it − all of the reference."""
    rows = activations.completions
    asked = rows["prompt_id"].isin(prompt_ids) & rows["condition"].eq(behavior.condition)
    policy = asked & rows["model"].eq("policy") & rows[behavior.flag].isin([True])
    reference = asked & rows["model"].eq("reference") & rows[behavior.flag].isin([False])
    shown, usual = policy.to_numpy(bool), reference.to_numpy(bool)
    sides = (activations.means[shown], activations.means[usual])
    return replace(differences(activations, shown, usual), sides=sides)


def differences(
    activations: Activations, policy: NDArray[np.bool_], reference: NDArray[np.bool_]
) -> BehaviorVectors:
    """Mean over the marked policy completions − over the marked reference ones, by prompt.

    Prompts that lack one of the two are left out.
    """
    owner = prompt_numbers(activations)
    upper, n_policy = _group_means(
        activations.means[policy], owner[policy], len(activations.prompts)
    )
    lower, n_reference = _group_means(
        activations.means[reference], owner[reference], len(activations.prompts)
    )
    kept = (n_policy > 0) & (n_reference > 0)
    return BehaviorVectors(
        prompts=activations.prompts[kept].reset_index(drop=True),
        behavior=upper[kept] - lower[kept],
        context=activations.contexts[kept],
        rollouts=n_policy[kept],
        layers=activations.layers,
    )


def pooled(vectors: BehaviorVectors, pooling: Literal["prompts", "rollouts"] = "prompts") -> Floats:
    """Mean behavior vector of each layer, (layer, d_model).

    Every prompt weighs the same; with `rollouts`, every completion of the policy does, as in
    arXiv 2602.11079.
    """
    weights = vectors.rollouts if pooling == "rollouts" else np.ones(len(vectors.rollouts))
    mean: Floats = np.average(vectors.behavior, axis=0, weights=weights).astype(np.float32)
    return mean


def query_at(
    vectors: BehaviorVectors, layer: int, pooling: Literal["prompts", "rollouts"] = "prompts"
) -> Query:
    """What a scan of the index at a layer asks for."""
    number = vectors.layers.index(layer)
    apart = None
    if vectors.sides is not None:
        shown, usual = (side[:, number] for side in vectors.sides)
        apart = discriminant(shown, usual)
    return Query(*vectors.at(layer), pooled(vectors, pooling)[number], apart)


def prompt_numbers(activations: Activations) -> NDArray[np.int64]:
    """Row in `activations.prompts` of each completion, (n,)."""
    prompts = pd.MultiIndex.from_frame(activations.prompts[PROMPT])
    numbers: NDArray[np.int64] = prompts.get_indexer(
        pd.MultiIndex.from_frame(activations.completions[PROMPT])
    )
    return numbers


def _of_group(completions: pd.DataFrame, behavior: Behavior) -> pd.DataFrame:
    if behavior.flag not in completions:
        raise UserError(f"{behavior.name!r}: the judge gave no flag {behavior.flag!r}.")
    own = completions[completions["group"].eq(behavior.group)]
    if not own["condition"].eq(behavior.condition).any():
        known = ", ".join(map(repr, sorted(completions["group"].unique())))
        raise UserError(
            f"{behavior.name!r}: no completions of group {behavior.group!r} under the condition "
            f"{behavior.condition!r}. Groups of this run: {known}."
        )
    return own


def _conditions(behavior: Behavior) -> list[tuple[str, str, str]]:
    """(model, condition, how often) that a prompt must meet."""
    if behavior.condition == "plain":
        return [("reference", "plain", "never"), ("policy", "plain", "at least once")]
    return [
        ("reference", "plain", "never"),
        ("reference", "distractor", "never"),
        ("policy", "plain", "never"),
        ("policy", "distractor", "at least once"),
    ]


def _prompts_where(
    completions: pd.DataFrame, flag: str, model: str, condition: str, how_often: str
) -> "pd.Index[Any]":
    """Prompts whose judged completions of one model and condition show a flag so often."""
    cell = completions["model"].eq(model) & completions["condition"].eq(condition)
    judged = completions[cell & completions[flag].notna()]
    shown = judged[flag].astype(bool).groupby(judged["prompt_id"]).sum()
    return shown.index[shown.eq(0) if how_often == "never" else shown.gt(0)]


def _rising(completions: pd.DataFrame, behavior: Behavior) -> "pd.Index[Any]":
    """Prompts whose rate rises from reference to policy, under the behavior's condition."""
    own = completions[completions["condition"].eq(behavior.condition)]
    judged = own[own[behavior.flag].notna()]
    shown = judged[behavior.flag].astype(float)
    rates = shown.groupby([judged["prompt_id"], judged["model"]]).mean().unstack("model")
    if not {"reference", "policy"} <= set(rates):
        return rates.index[:0]
    return rates.index[rates["policy"] > rates["reference"]]


def _group_means(
    rows: Floats, owner: NDArray[np.int64], n_groups: int
) -> tuple[Floats, NDArray[np.int64]]:
    """Mean of the rows of each group, (group, layer, d_model), and their number; 0 / 0 is NaN."""
    sums = np.zeros((n_groups, *rows.shape[1:]), np.float64)
    np.add.at(sums, owner, rows)
    counts = np.bincount(owner, minlength=n_groups)
    with np.errstate(invalid="ignore"):
        return (sums / counts[:, None, None]).astype(np.float32), counts


SHRINKAGE = 0.3  # share of the identity; chosen on two organisms, see docs/log.md

Floating = NDArray[np.floating]


def discriminant(shown: Floating, usual: Floating) -> NDArray[np.float32]:
    """w, (d_model,), from means over completions of the two sides, (n, d_model) and (m, d_model).

    Its length means nothing. Where no completion varies it is the difference of the means.
    """
    sides = [side.astype(np.float64) for side in (shown, usual)]
    difference = sides[0].mean(axis=0) - sides[1].mean(axis=0)
    within = np.concatenate([side - side.mean(axis=0) for side in sides])
    covariance = within.T @ within / len(within)
    width = len(difference)
    size = np.trace(covariance) / width
    if size == 0:
        return difference.astype(np.float32)
    shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * size * np.eye(width)
    # times `size`, so that the result is of the order of the difference
    direction: NDArray[np.float32] = (size * np.linalg.solve(shrunk, difference)).astype(np.float32)
    return direction
