"""Completions read through a model."""

import numpy as np
import pandas as pd
import torch

from core.attribution.completions import completion_activations
from core.data.tokens import encode_completion, encode_prompt
from core.models.extraction.activations import segment_means
from core.models.extraction.batch import Prompted
from core.models.loading import LoadedModel
from tests.tiny_models import tiny_model, tiny_tokenizer

LOADED = LoadedModel(tiny_model(), tiny_tokenizer(), torch.device("cpu"))


def table(rows):
    names = ["prompt_id", "condition", "prompt", "model", "completion"]
    return pd.DataFrame(rows, columns=names).assign(group="g", topic="t")


ROWS = [
    ("p", "plain", "w1 w2", "reference", "w3 w4"),
    ("q", "plain", "w5", "reference", "w6"),
    ("p", "plain", "w1 w2", "policy", ""),
    ("p", "plain", "w1 w2", "policy", "w7 w8 w9"),
    ("q", "plain", "w5", "policy", "w6"),
]


def test_each_completion_gets_the_mean_of_its_own_prompt_and_text():
    activations = completion_activations(LOADED, table(ROWS), [1, 3])
    assert activations.n_empty == 1
    for row, means in zip(activations.completions.itertuples(), activations.means, strict=True):
        prompt = encode_prompt(LOADED.tokenizer, row.prompt)
        item = Prompted(prompt, [encode_completion(LOADED.tokenizer, row.completion)])
        alone = segment_means(LOADED.model, [item], [1, 3])
        np.testing.assert_allclose(means, alone.completion[0], atol=1e-5)


def test_contexts_are_in_the_order_of_the_prompts():
    activations = completion_activations(LOADED, table(ROWS), [2])
    assert activations.prompts["prompt_id"].tolist() == ["p", "q"]
    for row, context in zip(activations.prompts.itertuples(), activations.contexts, strict=True):
        item = Prompted(encode_prompt(LOADED.tokenizer, row.prompt), [])
        alone = segment_means(LOADED.model, [item], [2])
        np.testing.assert_allclose(context, alone.context[0], atol=1e-5)


def test_the_order_of_completions_changes_nothing_but_the_order():
    straight = completion_activations(LOADED, table(ROWS), [2])
    turned = completion_activations(LOADED, table(ROWS[::-1]), [2])
    np.testing.assert_allclose(straight.means, turned.means[::-1], atol=1e-5)
