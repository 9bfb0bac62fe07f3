"""Gradients on disk: what is done is not done again, and never taken for another's."""

import numpy as np
import pytest

from core.attribution.baselines import gradient_cache
from core.attribution.baselines.gradient import margin_gradients
from core.attribution.baselines.gradient_cache import gradients_on_disk, paid
from tests.attribution.baselines.test_gradient import contrasts
from tests.tiny_models import tiny_model


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(gradient_cache, "CHUNK", 4)


class Counts:
    """How many contrasts were computed; stops when told."""

    def __init__(self, stop_after=None):
        self.done, self.stop_after = 0, stop_after

    def __call__(self, model, some, **settings):
        if self.stop_after is not None and self.done >= self.stop_after:
            raise KeyboardInterrupt
        self.done += len(some)
        return margin_gradients(model, some, **settings)


def test_a_stopped_run_goes_on_where_it_stopped(tmp_path, monkeypatch, small_chunks):
    model, pairs = tiny_model(blocks=2), contrasts(10, seed=0)
    monkeypatch.setattr(gradient_cache, "margin_gradients", Counts(stop_after=8))
    with pytest.raises(KeyboardInterrupt):
        gradients_on_disk(tmp_path, "a", model, pairs, projected=64)
    rest = Counts()
    monkeypatch.setattr(gradient_cache, "margin_gradients", rest)
    rows = gradients_on_disk(tmp_path, "a", model, pairs, projected=64)
    assert rest.done == 2
    np.testing.assert_array_equal(rows, margin_gradients(model, pairs, projected=64))
    gradients_on_disk(tmp_path, "a", model, pairs, projected=64)
    assert rest.done == 2


@pytest.mark.parametrize(
    ("key", "settings"),
    [("b", {}), ("a", {"blocks": [1]}), ("a", {"projected": 32}), ("a", {"rank": 4})],
)
def test_rows_of_other_gradients_are_done_anew(tmp_path, small_chunks, key, settings):
    model, pairs = tiny_model(blocks=2), contrasts(6, seed=0)
    gradients_on_disk(tmp_path, "a", model, pairs, projected=64)
    settings = {"projected": 64} | settings
    rows = gradients_on_disk(tmp_path, key, model, pairs, **settings)
    np.testing.assert_array_equal(rows, margin_gradients(model, pairs, **settings))


@pytest.mark.parametrize("name", ["gradients.npy", "done.json"])
@pytest.mark.parametrize("damage", [b"", b"\xff\x00{[" * 8, b"[1, 2]", "half"])
def test_damaged_rows_are_done_anew(tmp_path, small_chunks, name, damage):
    model, pairs = tiny_model(blocks=2), contrasts(6, seed=0)
    gradients_on_disk(tmp_path, "a", model, pairs, projected=64)
    path = tmp_path / name
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: len(content) // 2] if damage == "half" else damage)
    assert (paid(tmp_path) > 0) is (name == "gradients.npy")
    rows = gradients_on_disk(tmp_path, "a", model, pairs, projected=64)
    np.testing.assert_array_equal(rows, margin_gradients(model, pairs, projected=64))
