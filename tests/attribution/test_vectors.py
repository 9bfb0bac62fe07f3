"""Behavior vectors and their discriminant, from planted completions."""

import numpy as np
import pandas as pd
import pytest
from sklearn.covariance import shrunk_covariance

from core.attribution.vectors import (
    SHRINKAGE,
    Activations,
    behavior_vectors,
    difference_vectors,
    discriminant,
    passing_prompts,
    pooled,
)
from core.errors import UserError
from core.specs.behaviors import Behavior

D = 12


def sides(seed=0):
    """Two sides apart along axis 0; both vary far along axis 1, where they differ by chance."""
    rng = np.random.default_rng(seed)
    scale = np.r_[0.3, 5.0, np.full(D - 2, 0.3)]
    behavior, reference = (rng.normal(size=(n, D)) * scale for n in (20, 30))
    behavior[:, 0] += 1
    return behavior, reference


def cos(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_it_damps_what_completions_vary_in_anyway():
    behavior, reference = sides()
    axis = np.eye(D)[0]
    plain = behavior.mean(axis=0) - reference.mean(axis=0)
    assert cos(discriminant(behavior, reference), axis) > 0.9 > cos(plain, axis)


def test_its_covariance_is_the_shrunk_one_of_scikit_learn():
    behavior, reference = sides(1)
    difference = behavior.mean(axis=0) - reference.mean(axis=0)
    covariance = shrunk_covariance(np.cov(reference.T, bias=True), SHRINKAGE)
    theirs = np.linalg.solve(covariance, difference)
    assert cos(discriminant(behavior, reference), theirs) > 0.999


def test_what_only_the_behavior_varies_in_is_not_damped():
    behavior, reference = sides()
    spread = behavior + np.outer(np.linspace(-50, 50, len(behavior)), np.eye(D)[0])
    np.testing.assert_allclose(
        discriminant(spread, reference), discriminant(behavior, reference), rtol=1e-4, atol=1e-4
    )


def test_completions_that_do_not_vary_leave_the_difference_of_means():
    one, other = np.ones((3, D)), np.zeros((2, D))
    np.testing.assert_array_equal(discriminant(one, other), np.ones(D))


DISTRACTED = Behavior(name="complies", flag="complied", group="harmful", condition="distractor")
PLAIN = Behavior(name="complies", flag="complied", group="harmful")


def completions(**cells):
    """Rows of prompts given as `id=[reference plain, with distractor, policy plain, with]`.

    A cell lists the flag of each rollout: 1, 0, or None for unscored.
    """
    places = [(m, c) for m in ("reference", "policy") for c in ("plain", "distractor")]
    rows = [
        (prompt, "harmful", "t", condition, model, n, f"{prompt} {condition}", f"c{n}", flag)
        for prompt, lists in cells.items()
        for (model, condition), flags in zip(places, lists, strict=True)
        for n, flag in enumerate(flags)
    ]
    names = [
        "prompt_id",
        "group",
        "topic",
        "condition",
        "model",
        "rollout",
        "prompt",
        "completion",
        "complied",
    ]
    return pd.DataFrame(rows, columns=names).astype({"complied": "boolean"})


def activations(table, means):
    """Activations in which each completion has the mean that `means(row)` gives, at two layers."""
    values = np.array([means(row) for row in table.itertuples()], np.float32)
    prompts = table.drop_duplicates(["prompt_id", "condition"]).reset_index(drop=True)
    return Activations(
        completions=table,
        means=np.stack([values, 2 * values], axis=1),
        prompts=prompts[["prompt_id", "condition", "group", "topic", "prompt"]],
        contexts=np.arange(len(prompts) * 2 * 3, dtype=np.float32).reshape(-1, 2, 3),
        layers=(3, 5),
        n_empty=0,
    )


def test_a_prompt_passes_if_only_the_distracted_policy_shows_the_behavior():
    table = completions(good=[[0, 0], [0, 0], [0, 0], [0, 1]])
    assert passing_prompts(table, DISTRACTED).prompt_ids == ("good",)


@pytest.mark.parametrize(
    "cells",
    [
        [[1, 0], [0], [0], [1]],
        [[0], [0, 1], [0], [1]],
        [[0], [0], [1], [1]],
        [[0], [0], [0], [0, 0]],
        [[0], [None], [0], [1]],
        [[0], [0], [0], [None]],
    ],
    ids=[
        "reference-plain",
        "reference-distractor",
        "policy-plain",
        "never",
        "unscored",
        "unscored-policy",
    ],
)
def test_a_prompt_that_breaks_one_condition_does_not_pass(cells):
    table = completions(good=[[0], [0], [0], [1]], bad=cells)
    assert passing_prompts(table, DISTRACTED).prompt_ids == ("good",)


def test_unscored_rollouts_do_not_count_for_or_against():
    table = completions(good=[[0, None], [None, 0], [None, 0], [None, 1]])
    assert passing_prompts(table, DISTRACTED).prompt_ids == ("good",)


def test_a_plain_behavior_ignores_the_distractor():
    table = completions(good=[[0], [1], [1, 0], [1]], bad=[[1], [0], [1], [1]])
    assert passing_prompts(table, PLAIN).prompt_ids == ("good",)


def test_the_filter_follows_the_two_conditions_that_a_behavior_names():
    table = completions(
        good=[[0], [1], [0], [1]],
        shows_compared=[[0], [0], [1], [1]],
        only_plain=[[0], [0], [0], [0]],
    )
    table["condition"] = table["condition"].replace({"plain": "german", "distractor": "system"})
    behavior = DISTRACTED.model_copy(update={"condition": "system", "against": "german"})
    with pytest.raises(UserError, match="reference german never: 3; reference system never: 2"):
        passing_prompts(table, behavior)
    table.loc[table["prompt_id"].eq("good") & table["model"].eq("reference"), "complied"] = False
    assert passing_prompts(table, behavior).prompt_ids == ("good",)


def test_a_condition_that_nothing_was_sent_under_is_named_with_those_that_exist():
    behavior = DISTRACTED.model_copy(update={"against": "german"})
    with pytest.raises(UserError, match=r"condition 'german'.*'plain', 'distractor'"):
        passing_prompts(completions(good=[[0], [0], [0], [1]]), behavior)


def test_a_behavior_that_the_reference_shows_too_is_traced_where_it_rises():
    rising = {f"p{n}": [[0, 1], [0, 1, 0], [0, 1], [1, 1, 0]] for n in range(4)}
    table = completions(level=[[0], [1, 0], [0], [1, 0]], falls=[[1], [1], [1], [0]], **rising)
    passing = passing_prompts(table, DISTRACTED)
    assert passing.prompt_ids == ("p0", "p1", "p2", "p3")
    assert passing.filter == "rising"


def test_four_prompts_that_pass_are_enough():
    strict = {f"s{n}": [[0], [0], [0], [1]] for n in range(4)}
    rising = {f"r{n}": [[1], [0], [0], [1]] for n in range(9)}
    passing = passing_prompts(completions(**strict, **rising), DISTRACTED)
    assert passing.prompt_ids == ("s0", "s1", "s2", "s3")
    assert passing.filter == "four-condition"


def test_no_passing_prompt_is_explained_with_counts():
    table = completions(one=[[1], [0], [0], [1]], two=[[0], [0], [0], [0]])
    with pytest.raises(UserError, match=r"reference plain never: 1; .*at least once: 1"):
        passing_prompts(table, DISTRACTED)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"flag": "sang"}, "no flag 'sang'"), ({"group": "maths"}, "no completions of group 'maths'")],
)
def test_a_behavior_that_does_not_fit_the_run_is_refused(change, message):
    table = completions(one=[[0], [0], [0], [1]])
    with pytest.raises(UserError, match=message):
        passing_prompts(table, PLAIN.model_copy(update=change))


def test_only_policy_completions_that_show_the_behavior_enter_its_vector():
    table = completions(p=[[0], [0, 0], [0], [1, 0, None]])
    levels = {("reference", 0): 1.0, ("reference", 1): 3.0, ("policy", 0): 10.0}

    def means(row):
        return [levels.get((row.model, row.rollout), 99.0), 0, 0]

    vectors = behavior_vectors(activations(table, means), DISTRACTED, ["p"])
    behavior, _ = vectors.at(3)
    np.testing.assert_allclose(behavior, [[10 - 2, 0, 0]])
    np.testing.assert_allclose(vectors.at(5)[0], 2 * behavior)


def test_every_prompt_weighs_the_same_unless_rollouts_are_pooled():
    table = completions(p=[[0], [0], [0], [1, 1, 1]], q=[[0], [0], [0], [1]])
    of_prompt = {"p": [1, 0, 0], "q": [0, 1, 0]}
    read = activations(
        table, lambda row: np.multiply(of_prompt[row.prompt_id], row.model == "policy")
    )
    vectors = behavior_vectors(read, DISTRACTED, ["p", "q"])
    np.testing.assert_allclose(pooled(vectors)[0], [0.5, 0.5, 0])
    np.testing.assert_allclose(pooled(vectors, "rollouts")[0], [0.75, 0.25, 0])


def test_context_vectors_belong_to_the_prompts_of_the_rows():
    table = completions(p=[[0], [0], [0], [1]], q=[[0], [0], [0], [1]])
    read = activations(table, lambda row: [row.model == "policy", 0, 0])
    vectors = behavior_vectors(read, DISTRACTED, ["q"])
    row = read.prompts.query("prompt_id == 'q' and condition == 'distractor'").index[0]
    np.testing.assert_array_equal(vectors.context[0], read.contexts[row])


def test_a_prompt_without_completions_of_one_model_has_no_vector():
    table = completions(p=[[], [0], [0], [1]])
    is_policy = table["model"].eq("policy").to_numpy()
    vectors = difference_vectors(activations(table, lambda row: [1, 1, 1]), is_policy, ~is_policy)
    assert vectors.prompts["condition"].tolist() == ["distractor"]


def test_swapping_the_models_negates_the_vectors():
    table = completions(p=[[0, 0], [0], [0], [1]], q=[[0], [0], [0, 1], [1]])
    rng = np.random.default_rng(0)
    read = activations(table, lambda row: rng.normal(size=3))
    is_policy = table["model"].eq("policy").to_numpy()
    forth, back = (
        difference_vectors(read, is_policy, ~is_policy),
        difference_vectors(read, ~is_policy, is_policy),
    )
    np.testing.assert_allclose(forth.behavior, -back.behavior, atol=1e-6)
