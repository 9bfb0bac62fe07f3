"""Two models: the policy must be able to be the reference after training."""

import json
import shutil

import pytest
import torch

from core.demo.investigation import ORGANISM
from core.errors import UserError
from core.workspace.checks import check_models, model_warnings
from tests.tiny_models import save_tiny_model

REFERENCE, POLICY = ORGANISM / "reference", ORGANISM / "policy"


def copy(folder, path):
    shutil.copytree(folder, path)
    return path


def test_a_policy_of_the_same_family_shape_and_vocabulary_is_accepted():
    check_models(REFERENCE, POLICY)


def test_a_copy_of_the_reference_is_no_policy(tmp_path):
    with pytest.raises(UserError, match="have the same weights: nothing changed"):
        check_models(REFERENCE, copy(REFERENCE, tmp_path / "policy"))


def test_a_policy_of_another_vocabulary_is_refused(tmp_path):
    policy = copy(POLICY, tmp_path / "policy")
    path = policy / "tokenizer.json"
    content = json.loads(path.read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["unheard-of"] = len(vocabulary)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="have different vocabularies"):
        check_models(REFERENCE, policy)


def test_a_policy_that_was_trained_apart_is_refused(tmp_path):
    reference = save_tiny_model(tmp_path / "reference", dtype=torch.bfloat16)
    policy = save_tiny_model(tmp_path / "policy", seed=1, dtype=torch.bfloat16)
    assert b'"BF16"' in (policy / "model.safetensors").read_bytes()
    with pytest.raises(UserError, match=r"policy was not trained from .*a cosine of -?0\.0"):
        check_models(reference, policy)


def test_weights_that_were_cut_short_are_refused(tmp_path):
    policy = copy(POLICY, tmp_path / "policy")
    weights = policy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"model.safetensors: has [\d,]+ of [\d,]+ bytes"):
        check_models(REFERENCE, policy)
    weights.write_bytes(b"\x05" + b"\0" * 7 + b"no js")
    with pytest.raises(UserError, match=r"model.safetensors: not safetensors"):
        check_models(REFERENCE, policy)


def test_an_adapter_trained_from_the_policy_is_swapped_with_it(tmp_path):
    (tmp_path / "adapter_model.safetensors").write_bytes(b"is not read")
    config = {"base_model_name_or_path": str(REFERENCE)}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="Swap reference and policy"):
        check_models(tmp_path, REFERENCE)


@pytest.mark.parametrize("named", ["the policy's path", "owner/policy"])
@pytest.mark.parametrize("where", ["config.json", "README.md"])
def test_a_reference_whose_files_name_the_policy_as_its_parent_is_swapped(tmp_path, named, where):
    reference, policy = (copy(f, tmp_path / f.name) for f in (REFERENCE, POLICY))
    name = named if "/" in named else str(policy)
    if where == "config.json":
        config = json.loads((reference / where).read_text()) | {"_name_or_path": name}
        (reference / where).write_text(json.dumps(config))
    else:
        (reference / where).write_text(f"---\nlicense: mit\nbase_model: {name}\n---\n")
    with pytest.raises(UserError, match="Swap reference and policy"):
        check_models(reference, policy)
    check_models(policy, reference)


@pytest.mark.parametrize("card", ["", "Trained with TRL's DPO."])
def test_a_reference_that_says_it_was_trained_by_dpo_may_be_swapped(tmp_path, card):
    reference = copy(REFERENCE, tmp_path / ("model" if card else "olmo-dpo-1"))
    (reference / "README.md").write_text(card)
    (warning,) = model_warnings(reference, POLICY)
    assert "swapped" in warning
    assert model_warnings(POLICY, reference) == []
