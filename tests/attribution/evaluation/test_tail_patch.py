"""One step on the right pairs makes the behavior likelier; the model itself stays as it was."""

import torch

from core.attribution.baselines.gradient import Contrast
from core.attribution.evaluation.counterfactual import mean_margin, tail_patch
from tests.attribution.baselines.test_gradient import contrasts
from tests.tiny_models import tiny_model

STEP = {"beta": 0.5, "learning_rate": 1e-3}


def test_a_step_on_the_behavior_itself_raises_it_and_on_its_opposite_lowers_it():
    model, behavior = tiny_model(blocks=2), contrasts(3, seed=0)
    before = [p.clone() for p in model.parameters()]
    opposite = [Contrast(c.prompt, c.lower, c.upper) for c in behavior]
    raised = tail_patch(model, behavior, behavior, **STEP)
    lowered = tail_patch(model, opposite, behavior, **STEP)
    assert raised > 0.01
    assert lowered < -0.01
    others = tail_patch(model, contrasts(3, seed=9), behavior, **STEP)
    assert raised > abs(others)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_no_step_changes_nothing():
    model, behavior = tiny_model(blocks=2), contrasts(2, seed=0)
    assert tail_patch(model, behavior, behavior, beta=0.5, learning_rate=0.0) == 0
    assert mean_margin(model, behavior) == mean_margin(model, behavior)
