"""A model folder loads completely, or is refused with its name."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.errors import UserError
from core.models.loading import load_model
from core.models.residual import recording
from tests.tiny_models import FAMILIES, save_tiny_model

IDS = torch.tensor([[3, 10, 11, 12, 4, 20, 21]])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_cut_after_its_first_blocks_reads_the_same_stream(
    family: str, tmp_path: Path
) -> None:
    folder = save_tiny_model(tmp_path, family)
    full, cut = load_model(folder, device="cpu"), load_model(folder, device="cpu", blocks=2)
    with torch.inference_mode():
        expected = full.model(IDS, output_hidden_states=True).hidden_states
        with recording(cut.model, [0, 1, 2]) as recorded:
            cut.model(IDS, use_cache=False)
    assert len(cut.model.layers) == 2
    assert not hasattr(cut.model, "lm_head")
    for layer in (0, 1, 2):
        torch.testing.assert_close(recorded[layer], expected[layer])


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.json is missing"):
        load_model(tmp_path)


def test_truncated_weights_are_refused(tmp_path: Path) -> None:
    weights = save_tiny_model(tmp_path) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="cannot be loaded"):
        load_model(tmp_path)


def test_missing_weights_are_never_filled_at_random(tmp_path: Path) -> None:
    path = save_tiny_model(tmp_path) / "model.safetensors"
    weights = load_file(path)
    del weights["model.layers.1.mlp.down_proj.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"layers\.1\.mlp\.down_proj"):
        load_model(tmp_path)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    config = save_tiny_model(tmp_path) / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"intermediate_size": 64}))
    with pytest.raises(UserError, match="mlp"):
        load_model(tmp_path)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="cannot be loaded"):
        load_model(folder)
