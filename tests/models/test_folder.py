"""Model folders: an adapter is read as its base with the updates; a quantised one is refused."""

import json
import re
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from core.errors import UserError
from core.models.folder import ModelFolder, check_takes_system_prompts
from core.models.loading import load_classifier, load_model, load_tokenizer, read_config
from core.runs.hashing import fingerprint_model
from core.specs.project import from_options
from core.workspace.checks import model_facts, model_warnings
from tests.tiny_models import save_tiny_model, tiny_model

IDS = torch.tensor([[3, 10, 11, 12, 4, 20, 21]])


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    return save_tiny_model(tmp_path / "reference")


@pytest.fixture
def adapter(tmp_path: Path, reference: Path) -> Path:
    """Low-rank updates of a tiny OLMo 2, after one step."""
    model = get_peft_model(
        tiny_model(), LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")
    )
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    model(IDS, labels=IDS).loss.backward()
    optimizer.step()
    model.save_pretrained(tmp_path / "adapter")
    name_base(tmp_path / "adapter", str(reference))
    return tmp_path / "adapter"


def name_base(adapter: Path, base: str) -> None:
    path = adapter / "adapter_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"base_model_name_or_path": base}))


def test_an_adapter_is_read_as_its_base_with_the_updates(adapter: Path, reference: Path) -> None:
    from peft import PeftModel

    read, plain = (load_model(folder, device="cpu") for folder in (adapter, reference))
    with torch.inference_mode():
        before = plain.model(IDS).logits
        attached = PeftModel.from_pretrained(plain.model, str(adapter))(IDS).logits
        torch.testing.assert_close(read.model(IDS).logits, attached)
    assert (attached - before).abs().max() > 1e-3
    assert load_tokenizer(adapter).chat_template == plain.tokenizer.chat_template


def test_a_cut_adapter_reads_the_same_stream(adapter: Path) -> None:
    full, cut = (load_model(adapter, device="cpu", blocks=blocks) for blocks in (None, 2))
    with torch.inference_mode():
        expected = full.model(IDS, output_hidden_states=True).hidden_states[2]
        torch.testing.assert_close(cut.model(IDS, use_cache=False).last_hidden_state, expected)


def test_an_adapters_hash_covers_its_updates_and_its_base(
    adapter: Path, reference: Path, tmp_path: Path
) -> None:
    names = {fingerprint_model(adapter), fingerprint_model(reference)}
    name_base(adapter, str(save_tiny_model(tmp_path / "other", seed=1)))
    names.add(fingerprint_model(adapter))
    updates = adapter / "adapter_model.safetensors"
    updates.write_bytes(updates.read_bytes()[:-4] + b"\1\2\3\4")
    assert len(names | {fingerprint_model(adapter)}) == 4


def test_the_setup_shows_the_bases_shape_and_keeps_to_allowed_folders(
    adapter: Path, reference: Path
) -> None:
    assert model_facts(adapter) == model_facts(reference)
    with pytest.raises(UserError, match="not in a folder that this app may read"):
        model_facts(adapter, [adapter])


def test_an_adapter_of_other_weights_than_the_references_is_reported(
    adapter: Path, reference: Path, tmp_path: Path
) -> None:
    copy = save_tiny_model(tmp_path / "copy")
    for before, after in ((reference, adapter), (adapter, reference), (copy, adapter)):
        assert model_warnings(before, after) == []
    for name, other in (("as large", {"seed": 1}), ("larger", {"blocks": 5})):
        (warning,) = model_warnings(save_tiny_model(tmp_path / name, **other), adapter)
        assert str(reference) in warning


def test_code_that_comes_with_a_model_is_reported(reference: Path, adapter: Path) -> None:
    config = reference / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"auto_map": {}}))
    (warning,) = model_warnings(reference, adapter)
    assert "--trust-remote-code" in warning


def test_a_base_named_as_on_a_hub_is_the_folder_beside_the_adapter(
    adapter: Path, reference: Path
) -> None:
    name_base(adapter, "someone/reference")
    assert ModelFolder(adapter).base.path == reference


def test_an_adapters_base_is_the_reference_where_none_is_given(
    adapter: Path, reference: Path, tmp_path: Path
) -> None:
    behaviors = '[{"name": "b", "flag": "refused", "group": "g"}]'
    inputs = dict.fromkeys(("name", "pairs", "prompts", "heldout"), "x")
    given = inputs | {"judge": "refusal", "policy": str(adapter), "behaviors": behaviors}
    assert from_options(given).reference == str(reference)
    other = str(tmp_path / "other")
    assert from_options(given | {"reference": other}).reference == other
    with pytest.raises(UserError, match="--reference"):
        from_options(given | {"policy": str(reference)})


@pytest.mark.parametrize("base", ["allenai/OLMo-2-1124-7B-SFT", ""])
def test_a_base_that_is_not_on_this_machine_is_named(adapter: Path, base: str) -> None:
    name_base(adapter, base)
    for read in (load_model, fingerprint_model, model_facts):
        with pytest.raises(UserError, match="is not a model folder on this machine"):
            read(adapter)


@pytest.mark.parametrize(
    ("shape", "message"),
    [({"blocks": 2}, "which lacks model.layers.2"), ({"hidden_size": 64}, "size mismatch|loaded")],
)
def test_another_models_adapter_is_refused(
    adapter: Path, tmp_path: Path, shape: dict[str, int], message: str
) -> None:
    name_base(adapter, str(save_tiny_model(tmp_path / "other", **shape)))
    with pytest.raises(UserError, match=message):
        load_model(adapter, device="cpu")


def test_pickled_updates_are_refused(adapter: Path) -> None:
    updates = adapter / "adapter_model.safetensors"
    updates.rename(updates.with_suffix(".bin"))
    with pytest.raises(UserError, match="Other formats are not loaded"):
        load_model(adapter)


SETTINGS = {  # what each tool writes into config.json
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
@pytest.mark.parametrize("method", SETTINGS)
def test_a_quantised_checkpoint_is_refused_before_its_weights_are_read(tmp_path, method, read):
    config = save_tiny_model(tmp_path, blocks=1) / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | SETTINGS[method]))
    (tmp_path / "model.safetensors").write_bytes(b"never read")
    with pytest.raises(UserError, match=re.escape(str(config))) as caught:
        read(tmp_path)
    assert f"quantised ({method})" in str(caught.value) or not method
    assert "Use the checkpoint they were made from" in str(caught.value)


@pytest.mark.parametrize("name", ["quantize_config.json", "hf_quant_config.json"])
def test_a_file_that_marks_weights_as_quantised_is_reason_enough(tmp_path: Path, name: str) -> None:
    (save_tiny_model(tmp_path, blocks=1) / name).write_text('{"bits": 4}')
    with pytest.raises(UserError, match=rf"{name}: it says that the weights are quantised"):
        load_model(tmp_path)


def test_an_adapter_of_a_quantised_base_is_refused_with_the_base_named(tmp_path: Path) -> None:
    config = save_tiny_model(tmp_path / "base", blocks=1) / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | SETTINGS["bitsandbytes"]))
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "../base"}')
    (adapter / "adapter_model.safetensors").write_bytes(b"never read")
    for read in (load_model, model_facts):
        with pytest.raises(UserError, match=r"base.config\.json.*quantised \(bitsandbytes\)"):
            read(adapter)


def test_an_empty_quantisation_setting_is_no_reason_to_refuse(tmp_path: Path) -> None:
    config = save_tiny_model(tmp_path, blocks=1) / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"quantization_config": None}))
    load_model(tmp_path)


USERS = "{% for m in messages %}{% if m.role == 'user' %}<u>{{ m.content }}{% endif %}{% endfor %}"
FOLDED = "{% if messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}" + USERS
TURNS = "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
STRICT = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + USERS
)
TWO_ROLES = (
    "{% for m in messages %}{{ '<u>' if m.role == 'user' else '<a>' }}{{ m.content }}{% endfor %}"
)


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        (TURNS, ""),
        (FOLDED, ""),
        (USERS, "it leaves them out"),
        (STRICT, r"it refuses them \(no system\)"),
        (TWO_ROLES, "it writes them as turns of the assistant"),
    ],
)
@pytest.mark.parametrize("in_config", [False, True])
def test_a_template_without_system_prompts_is_named_with_its_model(
    tmp_path, template, problem, in_config
):
    if in_config:
        templates = [
            {"name": "tool_use", "template": USERS},
            {"name": "default", "template": template},
        ]
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": templates}))
    else:
        (tmp_path / "chat_template.jinja").write_text(template)
    if not problem:
        check_takes_system_prompts(tmp_path)
        return
    with pytest.raises(
        UserError, match=f"{tmp_path}: its chat template .*system prompts: {problem}"
    ):
        check_takes_system_prompts(tmp_path)


def test_a_base_named_smollm2_is_looked_up_in_the_cache(tmp_path, reference, adapter, monkeypatch):
    cache = tmp_path / "cache"
    monkeypatch.setenv("PAIRTRACE_CACHE", str(cache))
    name_base(adapter, "smollm2")
    with pytest.raises(UserError, match=r"its base SmolLM2 is not in .*pairtrace organism smollm2"):
        _ = ModelFolder(adapter).base
    cache.mkdir()
    reference.rename(cache / "smollm2")
    assert ModelFolder(adapter).base.path == (cache / "smollm2").resolve()
