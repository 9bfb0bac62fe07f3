"""A checkpoint that was quantised is refused by name, wherever a model folder is taken."""

import json
import re
from pathlib import Path

import pytest

from core.errors import UserError
from core.models.loading import load_classifier, load_model, read_config
from core.runs.setup import model_facts
from tests.tiny_models import save_tiny_model

SAID = {  # what each tool writes into config.json
    "bitsandbytes": {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
    "gptq": {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}},
    "awq": {"quantization_config": {"quant_method": "awq", "bits": 4, "version": "gemm"}},
    "fp8": {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}},
    "compressed-tensors": {"compression_config": {"quant_method": "compressed-tensors"}},
    "mxfp4": {"text_config": {"quantization_config": {"quant_method": "mxfp4"}}},
    "affine": {"quantization": {"group_size": 64, "bits": 4, "mode": "affine"}},
    "": {"quantization_config": {}},
}
READERS = (load_model, load_classifier, read_config, model_facts)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("method", SAID)
def test_a_quantised_checkpoint_is_refused_before_its_weights_are_read(tmp_path, method, read):
    config = save_tiny_model(tmp_path, blocks=1) / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | SAID[method]))
    (tmp_path / "model.safetensors").write_bytes(b"never read")
    with pytest.raises(UserError, match=re.escape(str(config))) as caught:
        read(tmp_path)
    assert f"quantised ({method})" in str(caught.value) or not method
    assert "Use the checkpoint they were made from" in str(caught.value)


@pytest.mark.parametrize("name", ["quantize_config.json", "hf_quant_config.json"])
def test_a_tool_that_says_so_in_a_file_of_its_own_is_heard(tmp_path: Path, name: str) -> None:
    (save_tiny_model(tmp_path, blocks=1) / name).write_text('{"bits": 4}')
    with pytest.raises(UserError, match=rf"{name}: it says that the weights are quantised"):
        load_model(tmp_path)


def test_an_adapter_of_a_quantised_base_is_refused_with_the_base_named(tmp_path: Path) -> None:
    config = save_tiny_model(tmp_path / "base", blocks=1) / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | SAID["bitsandbytes"]))
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "../base"}')
    (adapter / "adapter_model.safetensors").write_bytes(b"never read")
    for read in (load_model, model_facts):
        with pytest.raises(UserError, match=r"base.config\.json.*quantised \(bitsandbytes\)"):
            read(adapter)


def test_settings_that_say_nothing_of_it_are_no_reason_to_refuse(tmp_path: Path) -> None:
    config = save_tiny_model(tmp_path, blocks=1) / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"quantization_config": None}))
    load_model(tmp_path)
