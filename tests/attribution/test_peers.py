"""Our metrics on shared inputs against other people's code: scikit-learn, scipy, torch, quanda.

quanda's are skipped where it is not installed: `pip install quanda omegaconf einconv` (0.5.0
imports the last two without asking for them), and torch's own build of torchvision.
"""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score

from core.attribution.evaluation.counterfactual import lds, subsets
from core.attribution.evaluation.metrics import average_precision

N = 50


def planted_and_scores(seed):
    rng = np.random.default_rng(seed)
    planted = rng.random(N) < 0.3
    return planted, rng.normal(size=N) + planted


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("digits", [None, 0], ids=["distinct", "ties"])
def test_average_precision_is_that_of_scikit_learn(seed, digits):
    planted, scores = planted_and_scores(seed)
    scores = scores if digits is None else scores.round(digits)
    assert average_precision(scores, planted) == pytest.approx(
        average_precision_score(planted, scores)
    )


@pytest.mark.parametrize("seed", range(3))
def test_lds_is_that_of_quanda(seed):
    ground_truth = pytest.importorskip(
        "quanda.metrics.ground_truth.linear_datamodeling", exc_type=ImportError
    )
    rng = np.random.default_rng(seed)
    masks = subsets(N, count=16, share=0.4, seed=seed)
    scores = rng.normal(size=N).astype(np.float32)
    outcomes = masks @ scores + rng.normal(size=16).astype(np.float32)
    metric = ground_truth.LinearDatamodelingMetric(
        model=torch.nn.Linear(1, 1),
        train_dataset=torch.utils.data.TensorDataset(torch.zeros(N, 1)),
        m=16,
        alpha=0.4,
        subset_ids=[np.flatnonzero(mask).tolist() for mask in masks],
        subset_ckpt_filenames=[f"{n}" for n in range(16)],
    )
    metric.update(
        explanations=torch.tensor(scores).repeat(2, 1),  # two test samples, the same
        test_targets=torch.zeros(2, dtype=torch.long),
        test_data=torch.zeros(2, 1),
        subset_logits={n: torch.full((2, 1), float(value)) for n, value in enumerate(outcomes)},
    )
    assert lds(scores, masks, outcomes).value == pytest.approx(metric.compute()["score"], abs=1e-5)
    assert lds(scores, masks, outcomes).value == pytest.approx(
        spearmanr(masks @ scores, outcomes).statistic
    )
