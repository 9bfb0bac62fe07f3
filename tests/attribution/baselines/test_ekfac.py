"""EK-FAC: the right gradients go in, and curvature is all that is added to them."""

import logging

import numpy as np
import pytest
import torch
from torch import nn

from core.attribution.baselines.gradient import Contrast, margin
from tests.attribution.baselines.test_gradient import contrasts
from tests.tiny_models import tiny_model

pytest.importorskip("kronfluence", reason="the extra ekfac is not installed")

from core.attribution.baselines.ekfac import ekfac_scores, margins, packed


def linear_gradients(model, some):
    """∇ margin over the linear layers of the blocks, one row per contrast."""
    weights = [m.weight for m in model.model.layers.modules() if isinstance(m, nn.Linear)]
    rows = [torch.autograd.grad(margin(model, one), weights) for one in some]
    return np.array([np.concatenate([g.ravel().numpy() for g in row]) for row in rows])


@pytest.mark.parametrize("family", ["olmo2", "llama", "gemma2", "gpt_neox"])
def test_packed_contrasts_have_the_margins_of_texts_read_apart(family):
    model = tiny_model(family, blocks=2)
    some = [*contrasts(3, seed=0), Contrast([7, 8], [9], [10, 11, 12, 13, 14])]
    separate = torch.stack([margin(model, one) for one in some])
    torch.testing.assert_close(margins(model, packed(some)), separate, rtol=1e-4, atol=1e-4)


PAIRS, BEHAVIOR = contrasts(20, seed=0), contrasts(4, seed=1)


@pytest.fixture(scope="module")
def damped(tmp_path_factory):
    """Scores in which nothing but the plain gradients is left."""
    folder = tmp_path_factory.mktemp("damped")
    return ekfac_scores(tiny_model(blocks=2), PAIRS, BEHAVIOR, folder, damping=1e9)


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A model that scores were computed with, the scores, and the folder of their factors."""
    model, folder = tiny_model(blocks=2), tmp_path_factory.mktemp("scored")
    return model, ekfac_scores(model, PAIRS, BEHAVIOR, folder), folder


def test_with_much_damping_the_score_is_the_plain_gradients_cosine(damped):
    model = tiny_model(blocks=2)
    rows, target = linear_gradients(model, PAIRS), linear_gradients(model, BEHAVIOR).mean(axis=0)
    cosines = rows @ target / np.linalg.norm(rows, axis=1) / np.linalg.norm(target)
    assert np.corrcoef(damped, cosines)[0, 1] > 0.9999


@pytest.mark.slow
def test_curvature_changes_the_order_and_swapped_completions_the_sign(damped, scored, tmp_path):
    model, found, _ = scored
    assert 0.1 < np.corrcoef(found, damped)[0, 1] < 0.99
    swapped = [Contrast(c.prompt, c.lower, c.upper) for c in PAIRS]
    back = ekfac_scores(model, swapped, BEHAVIOR, tmp_path)
    np.testing.assert_allclose(found, -back, rtol=1e-3, atol=1e-4 * np.abs(found).max())


def test_the_model_is_left_alone_and_factors_are_used_again(scored):
    model, first, folder = scored
    cost = (folder / "done.json").read_text()
    again = ekfac_scores(model, PAIRS, BEHAVIOR, folder)
    np.testing.assert_allclose(first, again, rtol=1e-4)
    assert (folder / "done.json").read_text() == cost
    untouched = tiny_model(blocks=2)
    names = [name for name, _ in untouched.named_modules()]
    assert [name for name, _ in model.named_modules()] == names
    assert all(p.requires_grad for p in model.parameters())


def test_warnings_of_this_process_are_not_silenced(tmp_path):
    before = logging.getLogger().level
    ekfac_scores(tiny_model(blocks=2), PAIRS[:4], BEHAVIOR, tmp_path)
    assert logging.getLogger().level == before != logging.ERROR
