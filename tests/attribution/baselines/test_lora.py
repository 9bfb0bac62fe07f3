"""Low-rank updates at their start: right to first order, peft's own gradient, and no trace left."""

import numpy as np
import peft
import pytest
import torch

from core.attribution.baselines.gradient import low_rank, margin, margin_gradients
from tests.attribution.baselines.test_gradient import BETA, contrasts
from tests.tiny_models import tiny_model

RANK = 4
STEP = 0.02  # B moves less than all weights do; margins are summed in float32


def measured_changes(model, pair, behavior, blocks):
    """What one DPO step on a pair, moving B alone, does to each margin of the behavior."""
    with low_rank(model, rank=RANK, blocks=blocks) as updates:
        ups = [update.up for update in updates]
        before = [float(margin(model, one).detach()) for one in behavior]
        now = margin(model, pair)
        loss = -torch.nn.functional.logsigmoid(BETA * (now - now.detach()))
        with torch.no_grad():
            for up, gradient in zip(ups, torch.autograd.grad(loss, ups), strict=True):
                up -= STEP * gradient
        return [
            float(margin(model, one).detach()) - b for one, b in zip(behavior, before, strict=True)
        ]


@pytest.mark.parametrize("blocks", [None, [1]])
def test_the_score_predicts_what_a_dpo_step_of_the_low_rank_updates_does(blocks):
    model = tiny_model(blocks=2, seed=0).double()
    pairs, behavior = contrasts(12, seed=0), contrasts(4, seed=1)
    settings = {"projected": None, "rank": RANK, "blocks": blocks}
    predicted = (
        margin_gradients(model, pairs, **settings) @ margin_gradients(model, behavior, **settings).T
    )
    measured = np.array([measured_changes(model, pair, behavior, blocks) for pair in pairs])
    assert np.corrcoef(predicted.ravel(), measured.ravel())[0, 1] >= 0.99
    np.testing.assert_allclose(measured, STEP * BETA / 2 * predicted, rtol=0.1, atol=2e-5)


def test_pefts_adapter_with_the_same_a_has_this_gradient_in_b_and_none_in_a():
    model, (contrast,) = tiny_model(blocks=2), contrasts(1, seed=0)
    with low_rank(model, rank=RANK) as updates:
        ups = [update.up for update in updates]
        ours = torch.autograd.grad(margin(model, contrast), ups)
        downs = {update.layer: update.down for update in updates}
    config = peft.LoraConfig(r=RANK, lora_alpha=RANK, target_modules="all-linear")
    adapted = peft.get_peft_model(model, config)
    theirs = {}
    for name, module in adapted.named_modules():
        if isinstance(module, peft.tuners.lora.Linear):
            theirs[name.partition(".layers.")[2]] = module
    with torch.no_grad():
        for layer, module in theirs.items():
            module.lora_A["default"].weight.copy_(downs[layer])
    margin(adapted, contrast).backward()
    assert set(theirs) == set(downs)
    for layer, gradient in zip(downs, ours, strict=True):
        factors = theirs[layer].lora_A["default"].weight, theirs[layer].lora_B["default"].weight
        assert not factors[0].grad.any()
        torch.testing.assert_close(factors[1].grad, gradient, rtol=1e-3, atol=1e-5)


def test_the_model_is_as_before_when_the_context_ends():
    model, (contrast,) = tiny_model(blocks=2), contrasts(1, seed=0)
    before = margin(model, contrast)
    with low_rank(model, rank=RANK) as updates:
        with torch.no_grad():
            updates[0].up.add_(1)
        assert margin(model, contrast) != before
    assert margin(model, contrast) == before


def test_the_same_seed_gives_the_same_updates_and_another_does_not():
    model, pairs = tiny_model(blocks=2), contrasts(2, seed=0)
    first, again, other = (
        margin_gradients(model, pairs, projected=None, rank=RANK, seed=seed) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_blocks_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match=r"\[7\]"), low_rank(tiny_model(blocks=2), blocks=[7]):
        pass
