"""The packed pass: values, gradients and trainings are those of TRL's padded one."""

import random

import pytest
import torch
from transformers import AutoConfig
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.utils import add_fused_lm_head

from core.intervention.training import packed_pass
from core.intervention.training.packed_pass import (
    OUTPUTS,
    pairs_per_pass,
    trains_packed,
    use_packed_pass,
)
from tests.tiny_models import FAMILIES, tiny_model

CAPPED = {"gemma2", "gemma3_text"}  # their heads' logits are, or may be, capped
PACKED = sorted(FAMILIES.keys() - CAPPED)


@pytest.fixture(scope="module")
def batch():
    """TRL's batch of six pairs: two share a prompt, the completions of one their first token."""
    draw = random.Random(0)

    def ids(least, most):
        return [draw.randrange(5, 55) for _ in range(draw.randint(least, most))]

    prompts = [ids(2, 12) for _ in range(5)]
    pairs = [
        {"prompt_ids": prompt, "chosen_ids": ids(1, 20), "rejected_ids": ids(1, 20)}
        for prompt in [*prompts, prompts[0]]
    ]
    pairs[2]["rejected_ids"] = pairs[2]["chosen_ids"][:1] + ids(3, 3)
    inputs = DataCollatorForPreference(pad_token_id=0)(pairs)
    labels = inputs["input_ids"].masked_fill(inputs.pop("completion_mask") == 0, -100)
    return inputs | {"labels": labels}


def scores_and_gradients(model, batch):
    """What a pass returns, and the gradients of a sum that weighs every token differently."""
    model.zero_grad()
    outputs = model(**batch, fused_lm_head=True)
    weights = torch.linspace(-1, 1, outputs.log_probs.numel()).view_as(outputs.log_probs)
    (outputs.log_probs * weights).sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {name: outputs[name] for name in OUTPUTS}, gradients


def assert_same(ours, plain):
    """Equal up to float32's rounding of each tensor's length."""
    for mine, theirs in zip(ours, plain, strict=True):
        assert mine.keys() == theirs.keys()
        for name in mine:
            apart = (mine[name].float() - theirs[name].float()).norm()
            assert apart <= 2e-5 * theirs[name].float().norm() + 1e-7, name


@pytest.mark.parametrize("frozen", [False, True], ids=["head trained", "head frozen"])
@pytest.mark.parametrize("family", PACKED)
def test_scores_and_gradients_are_those_of_the_padded_pass(family, frozen, batch, monkeypatch):
    monkeypatch.setattr(packed_pass, "CHUNK", 7 * 55)  # seven tokens: the head is applied in chunks
    model = tiny_model(family, tie_word_embeddings=False).train()
    model.get_output_embeddings().requires_grad_(not frozen)
    add_fused_lm_head(model, outputs=OUTPUTS)
    plain = scores_and_gradients(model, batch)
    assert trains_packed(model)
    use_packed_pass(model)
    assert_same(scores_and_gradients(model, batch), plain)


def test_checkpointed_activations_change_nothing(batch):
    model = tiny_model("llama").train()
    add_fused_lm_head(model, outputs=OUTPUTS)
    use_packed_pass(model)
    kept = scores_and_gradients(model, batch)
    model.gradient_checkpointing_enable()
    assert_same(scores_and_gradients(model, batch), kept)


def test_nothing_kept_for_the_backward_pass_has_the_logits_of_every_token(batch):
    model = tiny_model("olmo2", vocab_size=4000).train()
    add_fused_lm_head(model, outputs=OUTPUTS)
    use_packed_pass(model)
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: sizes.append(tuple(tensor.shape)) or tensor, lambda tensor: tensor
    ):
        outputs = model(**batch, fused_lm_head=True)
    n_scored = int((batch["labels"][:, 1:] != -100).sum())
    assert outputs.log_probs.count_nonzero() == n_scored
    assert all(4000 not in shape or shape == (4000, 32) for shape in sizes)


@pytest.mark.parametrize("family", sorted(CAPPED))
def test_models_whose_logits_may_be_capped_are_left_to_trl(family):
    model = tiny_model(family)
    model.config.final_logit_softcapping = 30.0
    assert not trains_packed(model)


@pytest.mark.parametrize(
    ("longest", "on_gpu", "expected"), [(110, False, 2), (2000, False, 1), (110, True, 16)]
)
def test_a_batch_is_split_where_its_activations_would_fill_the_memory(longest, on_gpu, expected):
    """Of SmolLM2-135M, whose tokens keep 1.5 MB each."""
    shape = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30}
    config = AutoConfig.for_model("llama", **shape)
    assert pairs_per_pass(16, longest, config, on_gpu=on_gpu) == expected


def test_families_whose_attention_is_unknown_are_left_to_trl():
    model = tiny_model()
    model.config.model_type = "mamba"
    assert not trains_packed(model)
