"""Sampling: batches, padding and sharing change nothing; only new tokens come back."""

import pandas as pd
import pytest
import torch

import core.models.generation as generation
from core.data.tokens import encode_prompt
from core.models.generation import sample
from core.models.loading import LoadedModel
from tests.tiny_models import FAMILIES, tiny_model, tiny_tokenizer

PROMPTS = ["w1", "w2 w3 w4 w5 w6 w7 w8 w9 w10", "w3 w4", "w1 w2 w3 w4 w5"]


def load(family="olmo2", **settings):
    return LoadedModel(tiny_model(family, **settings), tiny_tokenizer(), torch.device("cpu"))


def draw(loaded, prompts=PROMPTS, **settings):
    arguments = {"rollouts": 3, "temperature": 1.0, "max_new_tokens": 12, "seed": 0} | settings
    return sample(loaded, prompts, progress=lambda *_: None, **arguments)


def greedy_without_cache(loaded, prompt, steps):
    """The oracle: one prompt, no padding, no cache."""
    ids = encode_prompt(loaded.tokenizer, prompt)
    start = len(ids)
    for _ in range(steps):
        with torch.inference_mode():
            token = int(loaded.model(torch.tensor([ids])).logits[0, -1].argmax())
        if token == loaded.tokenizer.eos_token_id:
            break
        ids.append(token)
    return loaded.tokenizer.decode(ids[start:], skip_special_tokens=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_padded_greedy_completions_equal_those_of_a_prompt_alone_without_cache(family):
    loaded = load(family)
    texts = draw(loaded, temperature=0, rollouts=1)["completion"].tolist()
    assert texts == [greedy_without_cache(loaded, prompt, 12) for prompt in PROMPTS]


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_batch_size_changes_no_completion(monkeypatch, rows):
    loaded = load()
    together = draw(loaded)
    monkeypatch.setattr(generation, "ROWS", rows)
    pd.testing.assert_frame_equal(draw(loaded), together)


def test_other_prompts_and_more_rollouts_change_no_completion():
    loaded = load()
    alone = draw(loaded, PROMPTS[2:3])["completion"].tolist()
    beside = draw(loaded, rollouts=5).query("prompt == @PROMPTS[2]")["completion"].tolist()
    assert beside[:3] == alone


def test_seeds_prompts_and_rollouts_draw_from_different_streams():
    loaded = load()
    first, second = draw(loaded, seed=0), draw(loaded, seed=1)
    assert first["completion"].nunique() == len(first)
    assert (first["completion"] != second["completion"]).all()


def test_sampled_tokens_follow_the_models_distribution():
    loaded = load()
    ids = encode_prompt(loaded.tokenizer, "w1")
    with torch.inference_mode():
        expected = loaded.model(torch.tensor([ids])).logits[0, -1].div(0.7).softmax(-1)
    drawn = draw(loaded, ["w1"], rollouts=4000, max_new_tokens=1, temperature=0.7)
    share = drawn["completion"].value_counts(normalize=True)
    for token in expected.topk(5).indices.tolist():
        word = loaded.tokenizer.decode([token], skip_special_tokens=True)
        assert share.get(word, 0) == pytest.approx(float(expected[token]), abs=0.025)


def test_the_prompts_tail_is_never_part_of_a_completion():
    loaded = load()
    head = loaded.model.lm_head.weight.data
    head[:], direction = 0, 50 * torch.randn(32)
    head[5], head[6] = direction, -direction  # can write w0 and w1 only; prompts end in others
    texts = draw(loaded, PROMPTS[1:], temperature=0.1)["completion"]
    assert set(" ".join(texts).split()) == {"w0", "w1"}


def test_a_completion_that_ends_by_itself_is_finished_and_its_end_not_counted():
    loaded = load()
    loaded.model.generation_config.eos_token_id = [1, *range(30, 55)]
    drawn = draw(loaded, rollouts=20)
    assert drawn["finished"].any()
    assert not drawn["finished"].all()
    assert (drawn.loc[~drawn["finished"], "n_tokens"] == 12).all()
    assert drawn.loc[drawn["finished"], "n_tokens"].max() < 12
    assert (drawn["completion"].str.split().str.len() <= drawn["n_tokens"]).all()


def test_progress_counts_finished_completions_to_the_end_of_each_batch(monkeypatch):
    monkeypatch.setattr(generation, "ROWS", 4)
    calls = []
    sample(
        load(),
        PROMPTS,
        rollouts=2,
        temperature=1.0,
        max_new_tokens=3,
        seed=0,
        progress=lambda done, total, _note: calls.append((done, total)),
    )
    assert calls == sorted(calls)
    assert {total for _, total in calls} == {8}
    assert any(done >= 4 for done, _ in calls)
