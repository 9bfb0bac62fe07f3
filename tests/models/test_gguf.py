"""A GGUF file becomes the model that it was made from, once, or says why it does not."""

import sys

import pytest
import torch

from core.errors import UserError
from core.models.gguf import check_file, dequantised, gguf_file
from core.models.loading import load_model
from core.workspace.checks import model_facts

pytest.importorskip("gguf")
from tests.gguf_files import tiny_llama, write_gguf


@pytest.fixture(scope="module")
def model():
    return tiny_llama()


def test_a_file_in_floating_point_is_the_model_itself(tmp_path, model):
    file = write_gguf(tmp_path / "model.gguf", model)
    folder = dequantised(file, tmp_path / "inputs")
    loaded = load_model(folder, dtype="float32")
    ids = torch.arange(3, 30)[None]
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(ids).logits, model(ids).logits)
    assert loaded.tokenizer.decode(loaded.tokenizer.encode("hello", add_special_tokens=False)) == (
        "hello"
    )
    assert model_facts(folder).blocks == model.config.num_hidden_layers


def test_a_quantised_file_is_its_weights_in_half_precision(tmp_path, model):
    file = write_gguf(tmp_path / "model.gguf", model, kind="Q8_0")
    assert check_file(file) == "float16"
    folder = dequantised(file, tmp_path / "inputs")
    loaded = load_model(folder, dtype="float32").model.state_dict()
    name = "model.layers.0.mlp.up_proj.weight"
    off = (loaded[name] - model.state_dict()[name]).abs().max()
    assert 0 < off < 0.01 * model.state_dict()[name].abs().max()


def test_a_file_is_dequantised_once(tmp_path, model, monkeypatch):
    file = write_gguf(tmp_path / "model.gguf", model)
    folder = dequantised(file, tmp_path / "inputs")
    monkeypatch.setattr("core.models.gguf.ProcessPoolExecutor", None)
    assert dequantised(file, tmp_path / "inputs") == folder


def test_a_folder_with_one_file_stands_for_it(tmp_path, model):
    file = write_gguf(tmp_path / "model.gguf", model)
    assert gguf_file(tmp_path) == gguf_file(file) == file
    (tmp_path / "b.gguf").touch()
    with pytest.raises(UserError, match=r"several GGUF files \(b.gguf, model.gguf\)"):
        gguf_file(tmp_path)
    (tmp_path / "config.json").touch()
    assert gguf_file(tmp_path) is None


def test_an_unknown_architecture_is_refused(tmp_path, model):
    file = write_gguf(tmp_path / "model.gguf", model, family="rwkv7")
    with pytest.raises(UserError, match="architecture 'rwkv7' is not read"):
        dequantised(file, tmp_path / "inputs")
    assert not (tmp_path / "inputs").exists()


@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.99])
def test_a_truncated_file_is_refused(tmp_path, model, share):
    file = write_gguf(tmp_path / "model.gguf", model)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match="not a complete GGUF file"):
        check_file(file)


def test_without_the_package_the_extra_is_named(tmp_path, model, monkeypatch):
    file = write_gguf(tmp_path / "model.gguf", model)
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(UserError, match=r"pip install 'pairtrace\[gguf\]'"):
        check_file(file)
