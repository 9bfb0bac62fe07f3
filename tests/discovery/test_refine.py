"""A change that few rollouts show is planted and recovered, with the pairs that teach it."""

import numpy as np
import pandas as pd
import pytest

from core.attribution.vectors import Activations
from core.discovery.matrix import all_differences, build_matrix
from core.discovery.prompt_clusters import find_prompt_clusters
from core.discovery.refine import direction, refinement
from core.geometry import cosines
from tests.attribution.test_similarity import D, write_index

PROMPTS, ROLLOUTS, TAUGHT, PAIRS = 8, 40, 30, 300
PLANTED = np.eye(D)[0]


def completions_of(random, n, *, shown):
    """(n, d_model): noise, and the planted change on the first `shown`."""
    means = random.normal(size=(n, D)) * np.where(np.arange(D) == 1, 6, 0.5)
    means[:shown] += 3 * PLANTED
    return means


def test_a_change_that_few_rollouts_show_gives_the_direction():
    random = np.random.default_rng(0)
    policy = completions_of(random, 600, shown=40)
    reference = completions_of(random, 600, shown=0)
    mean = policy.mean(axis=0) - reference.mean(axis=0)
    found = cosines(np.stack([mean, direction(policy, reference)]), PLANTED[None])[:, 0]
    assert found[1] > 0.9 > found[0]


def test_models_that_wrote_the_same_have_no_direction():
    same = completions_of(np.random.default_rng(0), 20, shown=0)
    assert not direction(same, same).any()


@pytest.mark.parametrize("cuts", [1, 7])
def test_refined_scores_separate_the_pairs_that_teach_it(tmp_path, cuts):
    index, activations = world(tmp_path, cuts)
    matrix = build_matrix(
        index,
        all_differences(activations),
        0,
        gated=True,
        path=tmp_path / "matrix.npy",
        report=lambda done, total: None,
    )
    first = find_prompt_clusters(matrix, 2)
    found = refinement(index, activations, 0, gated=True)(matrix, first)
    np.testing.assert_array_equal(found.labels, first.labels)
    assert found.scores.shape == (len(first.scores), PAIRS - 1)  # one pair is undefined
    taught = np.arange(PAIRS - 1) < TAUGHT
    assert taught_share(found.scores[0], taught) >= 0.95 > taught_share(first.scores[0], taught)


def taught_share(scores, taught):
    """Of the pairs that teach, the share among as many with the highest scores."""
    return taught[np.argsort(-scores)[:TAUGHT]].mean()


def world(folder, cuts):
    """Pairs on the prompts' topic, of which the first teach the change; the last is undefined."""
    random = np.random.default_rng(0)
    datapoint = random.normal(size=(PAIRS, D))
    datapoint[:TAUGHT] += 8 * PLANTED
    datapoint[-1] = 0
    topic = 4 * np.eye(D)[2]
    context = random.normal(size=(PAIRS, D)) + np.outer(np.arange(PAIRS) % 2 * 2 - 1.0, topic)
    context[:TAUGHT] = topic + random.normal(size=(TAUGHT, D))
    rows = pd.DataFrame(
        [
            {"prompt_id": p, "condition": "plain", "model": model}
            for p in range(PROMPTS)
            for model in ("policy", "reference")
            for _ in range(ROLLOUTS)
        ]
    )
    means = np.concatenate(
        [completions_of(random, ROLLOUTS, shown=shown) for _ in range(PROMPTS) for shown in (4, 0)]
    )
    prompts = rows[["prompt_id", "condition"]].drop_duplicates().reset_index(drop=True)
    prompts = prompts.assign(group="g", topic="t", prompt="?")
    contexts = topic + random.normal(size=(PROMPTS, D))
    activations = Activations(rows, means[:, None], prompts, contexts[:, None], (0,), 0)
    return write_index(folder / "index", datapoint, context, cuts), activations
