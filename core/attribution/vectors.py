"""Behavior vectors: how completions of the policy differ from the reference's on the same prompt.

    b_i = mean a(p_i, policy completions) − mean a(p_i, reference completions)     (d_model,)

a(p, y) is the reference model's residual stream at a layer, averaged over the tokens of y after p
(arXiv 2602.11079). Rollouts of a prompt are averaged first, so that prompts weigh the same. For a
named behavior, only prompts that pass a filter count, and of the policy only the rollouts that show
it: the others differ from the reference's by sampling noise and dilute the vector. For discovery,
all prompts and rollouts count. Unscored rollouts are in neither mean. Knows nothing of models or
files.
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
Flags = NDArray[np.bool_]
Pooling = Literal["prompts", "rollouts"]
Filter = Literal["four-condition", "rising"]

PROMPT = ["prompt_id", "condition"]
FEWEST = 4  # prompts that a vector can be tested with (core.attribution.validity)
SHRINKAGE = 0.3  # of the covariance towards the identity: docs/experiments/default_score.md


@dataclass(frozen=True)
class Activations:
    """Completions of a generate run with mean residual streams of the reference."""

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
    rollouts: NDArray[np.int64]  # (n,) completions of the policy behind each vector
    layers: tuple[int, ...]
    sides: tuple[Floats, Floats] | None = None  # behavior and reference completions, as `means`
    topics: Floats | None = None  # contexts of all prompts of the group, as `context`

    def at(self, layer: int) -> tuple[Floats, Floats]:
        """Behavior and context vectors of a layer, (n, d_model) each."""
        column = self.layers.index(layer)
        return self.behavior[:, column], self.context[:, column]


@dataclass(frozen=True)
class Passing:
    """The prompts that show a behavior, by a filter, and how many met each of its conditions."""

    prompt_ids: tuple[Any, ...]
    n_prompts: int  # in the behavior's group and condition
    met: dict[str, int]  # condition of the filter → prompts that meet it
    filter: Filter  # the one that chose the prompts


def passing_prompts(completions: pd.DataFrame, behavior: Behavior) -> Passing:
    """Prompts that the policy shows the behavior on because of its condition, and only then.

    The reference never shows it, under its condition or the one that it is compared with; the
    policy never under the latter, at least once under the former (arXiv 2602.11079: a distractor
    against plain). Plain against plain: reference never, policy at least once. A cell without a
    judged completion meets nothing. Where fewer than four prompts pass, those count on which the
    policy's rate is above the reference's, if there are four. Raises `UserError` where no prompt
    passes.
    """
    rows = _of_group(completions, behavior)
    asked = rows.loc[rows["condition"].eq(behavior.condition), "prompt_id"]
    prompt_ids = pd.Index(asked.unique())
    met = {
        cell: prompt_ids.isin(_prompts_where(rows, behavior.flag, *cell))
        for cell in _conditions(behavior)
    }
    passes = np.logical_and.reduce(list(met.values()))
    counts = {" ".join(cell): int(meets.sum()) for cell, meets in met.items()}
    rising = prompt_ids.isin(_rising(rows, behavior))
    if passes.sum() < FEWEST <= rising.sum():
        return Passing(tuple(prompt_ids[rising]), len(prompt_ids), counts, "rising")
    if not passes.any():
        listed = "; ".join(f"{name}: {n}" for name, n in counts.items())
        raise UserError(
            f"No prompt shows {behavior.name!r} by the filter. Of {len(prompt_ids)} prompts of "
            f"group {behavior.group!r}, these many meet each condition: {listed}. The policy shows "
            f"it more often than the reference on {int(rising.sum())}. Generate more rollouts or "
            "prompts, or correct the behavior's flag, group or condition."
        )
    return Passing(tuple(prompt_ids[passes]), len(prompt_ids), counts, "four-condition")


def behavior_vectors(
    activations: Activations, behavior: Behavior, prompt_ids: Sequence[Any]
) -> BehaviorVectors:
    """Vectors of some prompts: the policy's completions that show it − the reference's that do not.

    Prompts without completions of both kinds are left out. Those of the behavior's group and
    condition all have their part in `topics`.
    """
    rows = activations.completions
    asked = rows["prompt_id"].isin(prompt_ids) & rows["condition"].eq(behavior.condition)
    shows = asked & rows["model"].eq("policy") & rows[behavior.flag].isin([True])
    shows_not = asked & rows["model"].eq("reference") & rows[behavior.flag].isin([False])
    policy, reference = shows.to_numpy(bool), shows_not.to_numpy(bool)
    sides = (activations.means[policy], activations.means[reference])
    prompts = activations.prompts
    of_group = prompts["group"].eq(behavior.group) & prompts["condition"].eq(behavior.condition)
    topics = activations.contexts[of_group.to_numpy(bool)]
    return replace(difference_vectors(activations, policy, reference), sides=sides, topics=topics)


def completions_to_read(
    completions: pd.DataFrame, behavior: Behavior, prompt_ids: Sequence[Any]
) -> pd.Series:
    """(completion,) all of some prompts, and one of each other prompt, whose context is needed."""
    asked = completions["condition"].eq(behavior.condition)
    asked &= completions["group"].eq(behavior.group)
    texts = completions["completion"].where(asked & completions["completion"].ne(""))
    first = texts.notna() & ~completions["prompt_id"].where(texts.notna()).duplicated()
    return (asked & completions["prompt_id"].isin(prompt_ids)) | first


def difference_vectors(
    activations: Activations, policy: Flags, reference: Flags
) -> BehaviorVectors:
    """Mean over the marked policy completions − over the marked reference ones, by prompt.

    Both marks are (completion,). Prompts that lack one of the two are left out.
    """
    owner = prompt_rows(activations.prompts, activations.completions)
    (upper, n_policy), (lower, n_reference) = (
        group_means(activations.means[side], owner[side], len(activations.prompts))
        for side in (policy, reference)
    )
    defined = (n_policy > 0) & (n_reference > 0)
    return BehaviorVectors(
        prompts=activations.prompts[defined].reset_index(drop=True),
        behavior=upper[defined].astype(np.float32) - lower[defined].astype(np.float32),
        context=activations.contexts[defined],
        rollouts=n_policy[defined],
        layers=activations.layers,
    )


def prompt_rows(prompts: pd.DataFrame, others: pd.DataFrame) -> NDArray[np.int64]:
    """Row among `prompts` of the prompt and condition of each of the others; −1: none."""
    keys = pd.MultiIndex.from_frame(prompts[PROMPT])
    rows: NDArray[np.int64] = keys.get_indexer(pd.MultiIndex.from_frame(others[PROMPT]))
    return rows


def group_means(
    rows: NDArray[np.floating], owner: NDArray[np.int64], n_groups: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Mean of the rows of each group, (group, …), and their number; 0 / 0 is NaN."""
    sums = np.zeros((n_groups, *rows.shape[1:]))
    np.add.at(sums, owner, rows)
    counts = np.bincount(owner, minlength=n_groups)
    with np.errstate(invalid="ignore"):
        return (sums.T / counts).T, counts


def pooled(vectors: BehaviorVectors, pooling: Pooling = "prompts") -> Floats:
    """b = mean_i b_i of each layer, (layer, d_model).

    Every prompt weighs the same; with `rollouts`, every completion of the policy does, as in
    arXiv 2602.11079.
    """
    weights = vectors.rollouts if pooling == "rollouts" else np.ones(len(vectors.rollouts))
    mean: Floats = np.average(vectors.behavior, axis=0, weights=weights).astype(np.float32)
    return mean


def discriminant(
    behavior: NDArray[np.floating], reference: NDArray[np.floating], *, damp_both: bool = False
) -> Floats:
    """Fisher's linear discriminant between two sets of completions, (d_model,).

    w = Σ⁻¹ (mean `behavior` − mean `reference`), of (n, d_model) and (m, d_model); Σ is the
    covariance of the reference's completions, shrunk by a fixed 0.3 towards a multiple of the
    identity (Fisher 1936; Ledoit & Wolf 2004). It damps what the reference's completions vary in
    anyway; in what the behavior's vary is partly the behavior. `damp_both`: Σ is the covariance
    within both sets, for sets most of which show nothing. Its length means nothing. Where nothing
    varies, it is the difference of the means.
    """
    ours, theirs = behavior.astype(np.float64), reference.astype(np.float64)
    difference = ours.mean(axis=0) - theirs.mean(axis=0)
    damped = (ours, theirs) if damp_both else (theirs,)
    within = np.concatenate([side - side.mean(axis=0) for side in damped])
    covariance = within.T @ within / len(within)
    variance = np.trace(covariance) / len(difference)
    if variance == 0:
        return difference.astype(np.float32)
    shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * variance * np.eye(len(difference))
    # times the variance, so that the result is of the order of the difference
    direction: Floats = (variance * np.linalg.solve(shrunk, difference)).astype(np.float32)
    return direction


def query_at(vectors: BehaviorVectors, layer: int, pooling: Pooling = "prompts") -> Query:
    """What a scan of the index needs at a layer; with `sides`, the discriminant, too."""
    column = vectors.layers.index(layer)
    w = None
    if vectors.sides is not None:
        ours, theirs = vectors.sides
        w = discriminant(ours[:, column], theirs[:, column])
    topics = None if vectors.topics is None else vectors.topics[:, column]
    return Query(*vectors.at(layer), pooled(vectors, pooling)[column], w, topics)


def _of_group(completions: pd.DataFrame, behavior: Behavior) -> pd.DataFrame:
    if behavior.flag not in completions:
        flags = ", ".join(map(str, completions.select_dtypes("boolean")))
        raise UserError(
            f"{behavior.name!r}: the judge gave no flag {behavior.flag!r}. It gave: "
            f"{flags or 'none, and a behavior needs a judge (docs/judges.md)'}."
        )
    rows = completions[completions["group"].eq(behavior.group)]
    for condition in dict.fromkeys((behavior.condition, behavior.against)):
        if not rows["condition"].eq(condition).any():
            groups = ", ".join(map(repr, sorted(completions["group"].unique())))
            conditions = ", ".join(map(repr, rows["condition"].unique())) or "none"
            raise UserError(
                f"{behavior.name!r}: no completions of group {behavior.group!r} under the "
                f"condition {condition!r}. Groups of this run: {groups}; conditions of this "
                f"group: {conditions}."
            )
    return rows


def _conditions(behavior: Behavior) -> list[tuple[str, str, str]]:
    """(model, condition, how often) that a prompt must meet."""
    shown, compared = behavior.condition, behavior.against
    if shown == compared:
        return [("reference", shown, "never"), ("policy", shown, "at least once")]
    return [
        ("reference", compared, "never"),
        ("reference", shown, "never"),
        ("policy", compared, "never"),
        ("policy", shown, "at least once"),
    ]


def _prompts_where(
    completions: pd.DataFrame, flag: str, model: str, condition: str, how_often: str
) -> "pd.Index[Any]":
    """Prompts whose judged completions by one model under one condition have a flag so often."""
    cell = completions["model"].eq(model) & completions["condition"].eq(condition)
    judged = completions[cell & completions[flag].notna()]
    n = judged[flag].astype(bool).groupby(judged["prompt_id"]).sum()
    return n.index[n.eq(0) if how_often == "never" else n.gt(0)]


def _rising(completions: pd.DataFrame, behavior: Behavior) -> "pd.Index[Any]":
    """Prompts whose rate rises from reference to policy, under the behavior's condition."""
    rows = completions[completions["condition"].eq(behavior.condition)]
    judged = rows[rows[behavior.flag].notna()]
    flags = judged[behavior.flag].astype(float)
    rates = flags.groupby([judged["prompt_id"], judged["model"]]).mean().unstack("model")
    if not {"reference", "policy"} <= set(rates):
        return rates.index[:0]
    return rates.index[rates["policy"] > rates["reference"]]
