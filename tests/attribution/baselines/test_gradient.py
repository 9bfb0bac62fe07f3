"""The gradient baseline predicts what a step really does."""

import copy

import numpy as np
import pytest
import torch

from core.attribution.baselines.gradient import (
    Contrast,
    cpu_seconds,
    differentiated,
    gradients_on_disk,
    margin,
    margin_gradients,
    mean_cosine,
)
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
    full = margin_gradients(model, pairs, projected=None)
    short = margin_gradients(model, pairs, projected=4096)
    assert np.corrcoef((full @ full.T).ravel(), (short @ short.T).ravel())[0, 1] > 0.98
    np.testing.assert_array_equal(short, margin_gradients(model, pairs, projected=4096))


def test_one_block_alone_gives_the_part_of_the_gradient_that_is_its_own():
    model, pairs = tiny_model(blocks=2), contrasts(2, seed=0)
    full = margin_gradients(model, pairs, projected=None)
    part = margin_gradients(model, pairs, projected=None, blocks=[1])
    sizes = []
    for blocks in ([0], [1]):
        with differentiated(model, blocks) as parameters:
            sizes.append(sum(p.numel() for p in parameters))
    start = sum(p.numel() for p in model.model.embed_tokens.parameters()) + sizes[0]
    assert part.shape[1] == sizes[1]
    np.testing.assert_allclose(part, full[:, start : start + sizes[1]], rtol=1e-4, atol=1e-5)


def test_checkpoints_weigh_the_same_and_scale_does_not_matter():
    rng = np.random.default_rng(0)
    targets = [rng.normal(size=(2, 8)).astype(np.float32) for _ in range(2)]
    rows = [rng.normal(size=(5, 8)).astype(np.float32) for _ in range(2)]
    single = [mean_cosine(targets[n : n + 1], rows[n : n + 1]) for n in range(2)]
    np.testing.assert_allclose(mean_cosine(targets, rows), np.mean(single, axis=0), atol=1e-6)
    np.testing.assert_allclose(mean_cosine(targets[:1], [3 * rows[0]]), single[0], atol=1e-6)


class Stop(Exception):
    """Raised from a report of progress, as a killed process would end."""


def test_a_stopped_run_computes_only_the_missing_rows(tmp_path):
    model, pairs = tiny_model(blocks=2), contrasts(10, seed=0)
    reports = []

    def stop_at_8(done, total):
        if done == 8:
            raise Stop

    with pytest.raises(Stop):
        gradients_on_disk(tmp_path, "a", model, pairs, projected=64, chunk=4, progress=stop_at_8)
    for _ in range(2):
        rows = gradients_on_disk(
            tmp_path, "a", model, pairs, projected=64, progress=lambda *done: reports.append(done)
        )
    assert reports == [(10, 10)]
    np.testing.assert_array_equal(rows, margin_gradients(model, pairs, projected=64))


@pytest.mark.parametrize(
    ("key", "settings"),
    [("b", {}), ("a", {"blocks": [1]}), ("a", {"projected": 32}), ("a", {"rank": 4})],
)
def test_rows_of_other_gradients_are_computed_again(tmp_path, key, settings):
    model, pairs = tiny_model(blocks=2), contrasts(6, seed=0)
    gradients_on_disk(tmp_path, "a", model, pairs, projected=64)
    settings = {"projected": 64} | settings
    rows = gradients_on_disk(tmp_path, key, model, pairs, **settings)
    np.testing.assert_array_equal(rows, margin_gradients(model, pairs, **settings))


@pytest.mark.parametrize("name", ["gradients.npy", "done.json"])
@pytest.mark.parametrize("damage", [b"", b"\xff\x00{[" * 8, b"[1, 2]", "half"])
def test_damaged_rows_are_computed_again(tmp_path, name, damage):
    model, pairs = tiny_model(blocks=2), contrasts(6, seed=0)
    gradients_on_disk(tmp_path, "a", model, pairs, projected=64)
    path = tmp_path / name
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: len(content) // 2] if damage == "half" else damage)
    assert (cpu_seconds(tmp_path) > 0) is (name == "gradients.npy")
    rows = gradients_on_disk(tmp_path, "a", model, pairs, projected=64)
    np.testing.assert_array_equal(rows, margin_gradients(model, pairs, projected=64))
