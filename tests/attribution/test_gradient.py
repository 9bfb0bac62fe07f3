"""The gradient baseline predicts what a step really does."""

import copy

import numpy as np
import torch

from core.attribution.gradient import Contrast, margin, margin_gradients
from tests.tiny_models import tiny_model

BETA, STEP = 0.1, 1e-3


def contrasts(n, seed):
    rng = np.random.default_rng(seed)
    return [
        Contrast(*(rng.integers(5, 55, size=size).tolist() for size in (4, 5, 3))) for _ in range(n)
    ]


def dpo_step(model, contrast):
    """The model after one plain gradient step on one pair's DPO loss, from the reference."""
    stepped = copy.deepcopy(model)
    with torch.no_grad():
        before = margin(model, contrast)
    loss = -torch.nn.functional.logsigmoid(BETA * (margin(stepped, contrast) - before))
    loss.backward()
    with torch.no_grad():
        for parameter in stepped.parameters():
            parameter -= STEP * parameter.grad
    return stepped


def test_the_score_predicts_the_change_of_the_margin_after_a_dpo_step():
    model = tiny_model(blocks=2, seed=0).double()
    pairs, behavior = contrasts(12, seed=0), contrasts(4, seed=1)
    predicted = (
        margin_gradients(model, pairs, projected=None)
        @ margin_gradients(model, behavior, projected=None).T
    )
    measured = np.zeros_like(predicted)
    for row, pair in enumerate(pairs):
        stepped = dpo_step(model, pair)
        with torch.no_grad():
            measured[row] = [float(margin(stepped, b) - margin(model, b)) for b in behavior]
    assert np.corrcoef(predicted.ravel(), measured.ravel())[0, 1] >= 0.99
    np.testing.assert_allclose(measured, STEP * BETA / 2 * predicted, rtol=0.1, atol=2e-5)


def test_swapping_the_completions_negates_the_gradient():
    model = tiny_model(blocks=2)
    pairs = contrasts(3, seed=0)
    swapped = [Contrast(c.prompt, c.lower, c.upper) for c in pairs]
    forth, back = margin_gradients(model, pairs), margin_gradients(model, swapped)
    np.testing.assert_allclose(forth, -back, atol=1e-3 * np.abs(forth).max())


def test_the_projection_keeps_inner_products_and_is_seeded():
    model = tiny_model(blocks=2)
    pairs = contrasts(10, seed=0)
    whole = margin_gradients(model, pairs, projected=None)
    short = margin_gradients(model, pairs, projected=4096)
    assert np.corrcoef((whole @ whole.T).ravel(), (short @ short.T).ravel())[0, 1] > 0.98
    np.testing.assert_array_equal(short, margin_gradients(model, pairs, projected=4096))
