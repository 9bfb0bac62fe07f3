"""A model that does not fit one device computes the same as on one.

Here the devices are main memory and the disk; the rules for several GPUs are tested by the map
alone, since none was at hand.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from core import environment
from core.errors import UserError
from core.intervention.training.dpo import train
from core.models.devices import computes_on_several, is_spread, pick_device, spreading
from core.models.extraction.activations import segment_means
from core.models.extraction.batch import Prompted
from core.models.generation import sample
from core.models.loading import LoadedModel, load_model
from core.models.residual import steering
from core.specs.steps import TrainSpec
from tests.tiny_models import save_tiny_model

IDS = torch.tensor([[3, 10, 11, 12, 4, 20, 21]])
HALF = "balanced:80KB"  # of the 156 KB that the model takes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny_model(tmp_path / "model")


def spread(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: int) -> LoadedModel:
    monkeypatch.setenv(environment.DEVICE, HALF)
    loaded = load_model(folder, **settings)
    assert set(loaded.model.hf_device_map.values()) == {"cpu", "disk"}
    monkeypatch.delenv(environment.DEVICE)
    return loaded


def test_half_of_it_on_disk_gives_the_same_logits(folder, monkeypatch) -> None:
    with torch.inference_mode():
        expected = load_model(folder, device="cpu").model(IDS).logits
        torch.testing.assert_close(spread(folder, monkeypatch).model(IDS).logits, expected)


def test_half_of_it_on_disk_samples_the_same_completions(folder, monkeypatch) -> None:
    settings = {"rollouts": 3, "temperature": 1.0, "max_new_tokens": 6, "seed": 0}
    tables = [
        sample(loaded, ["w1 w2", "w3"], progress=lambda *_: None, **settings)
        for loaded in (load_model(folder, device="cpu"), spread(folder, monkeypatch))
    ]
    pd.testing.assert_frame_equal(*tables)


def test_half_of_it_on_disk_reads_the_same_means(tmp_path, monkeypatch) -> None:
    folder = save_tiny_model(tmp_path / "model", blocks=8)
    items = [Prompted([3, 10, 11, 4], [[20, 21], [20, 22, 23]]), Prompted([3, 12, 4], [[30]])]
    both = [
        segment_means(loaded.model, items, [0, 3, 6])
        for loaded in (
            load_model(folder, device="cpu", blocks=6),
            spread(folder, monkeypatch, blocks=6),
        )
    ]
    for name in ("context", "completion"):
        np.testing.assert_allclose(*(getattr(means, name) for means in both), atol=1e-5)


def test_what_lies_on_disk_is_steered_too(folder, monkeypatch) -> None:
    vector, logits = torch.ones(32), []
    for loaded in (load_model(folder, device="cpu"), spread(folder, monkeypatch)):
        with torch.inference_mode(), steering(loaded.model, 3, vector, 2.0):
            logits.append(loaded.model(IDS).logits)
    torch.testing.assert_close(*logits)


def test_a_model_that_fits_is_not_spread(folder, monkeypatch) -> None:
    monkeypatch.setenv(environment.DEVICE, "balanced")
    assert not is_spread(load_model(folder).model)


@pytest.mark.parametrize(("gpus", "begins"), [(0, "cpu"), (2, "cuda")])
def test_each_gpu_and_main_memory_may_take_the_size_that_is_said(gpus, begins, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    places = dict.fromkeys([*range(gpus), "cpu"], "20GB")
    assert spreading("balanced:20GB") == {"device_map": "balanced", "max_memory": places}
    assert spreading("balanced") == {"device_map": "balanced", "max_memory": None}
    assert spreading("cpu") == spreading("auto") == {}
    assert pick_device("balanced:20GB") == torch.device(begins)


@pytest.mark.parametrize(
    ("places", "several"),
    [
        (None, False),
        ({"layers.0": 0, "layers.1": "cpu", "head": "disk"}, False),
        ({"layers.0": 0, "layers.1": 1}, True),
    ],
)
def test_what_is_brought_to_one_gpu_is_computed_on_one(places, several) -> None:
    assert computes_on_several(SimpleNamespace(hf_device_map=places)) == several


def test_weights_on_disk_are_not_trained(folder, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(environment.DEVICE, HALF)
    spec = TrainSpec(reference=str(folder), pairs="pairs")
    with pytest.raises(UserError, match="do not fit the devices here"):
        train(folder, pd.DataFrame(), spec, tmp_path, tmp_path / "cache", lambda *_: None)


def test_an_adapter_of_a_base_to_spread_is_refused_before_the_base_is_read(
    folder, tmp_path, monkeypatch
) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    config = {"base_model_name_or_path": str(folder), "peft_type": "LORA"}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").unlink()
    monkeypatch.setenv(environment.DEVICE, "balanced")
    with pytest.raises(UserError, match="Leave balanced out"):
        load_model(adapter)
