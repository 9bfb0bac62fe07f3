"""Segment means equal those of the plain loop, whatever is batched with what."""

from typing import Any

import numpy as np
import pytest
import torch

from core.models.extraction.activations import batches, segment_means
from core.models.extraction.attention import SIZES
from core.models.extraction.batch import FAMILIES as PACKED
from core.models.extraction.batch import Prompted
from core.models.residual import decoder_blocks
from tests.tiny_models import FAMILIES, tiny_model

LAYERS = [0, 1, 3]


def random_items(n: int = 6, seed: int = 0, completions: int = 3) -> list[Prompted]:
    """Prompts of 3–14 tokens with 1–3 completions of 1–12 tokens."""
    random = np.random.default_rng(seed)

    def ids(low: int, high: int) -> list[int]:
        return random.integers(5, 55, random.integers(low, high)).tolist()

    return [
        Prompted(ids(3, 15), [ids(1, 13) for _ in range(random.integers(1, completions + 1))])
        for _ in range(n)
    ]


def plain_means(model: Any, items: list[Prompted]) -> tuple[np.ndarray, np.ndarray]:
    """The definition: one sequence at a time, all hidden states, no hooks."""
    contexts, completions = [], []
    for item in items:
        for number, completion in enumerate(item.completions):
            ids = torch.tensor([[*item.prompt, *completion]])
            with torch.inference_mode():
                states = model(ids, output_hidden_states=True).hidden_states
            at = torch.stack([states[layer][0] for layer in LAYERS], dim=1)
            if number == 0:
                contexts.append(at[: len(item.prompt)].mean(0))
            completions.append(at[len(item.prompt) :].mean(0))
    return torch.stack(contexts).numpy(), torch.stack(completions).numpy()


@pytest.mark.parametrize("sizes", [(64, 16), (4, 1)])
@pytest.mark.parametrize("family", FAMILIES)
def test_packed_means_equal_the_plain_loop(
    family: str, sizes: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SIZES, "cpu", sizes)
    model, items = tiny_model(family), random_items()
    means = segment_means(model, items, LAYERS)
    context, completion = plain_means(model, items)
    np.testing.assert_allclose(means.context, context, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(means.completion, completion, rtol=1e-4, atol=1e-5)


def test_every_family_that_is_packed_is_tested() -> None:
    assert set(FAMILIES) == PACKED


def test_blocks_written_out_are_the_library_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """In bfloat16 too, where the order of roundings matters."""
    model, items = tiny_model().to(torch.bfloat16), random_items()
    ours = segment_means(model, items, LAYERS).completion
    monkeypatch.setattr("core.models.extraction.llama.FAMILIES", set())
    library = segment_means(model, items, LAYERS).completion
    cosines = (ours * library).sum(-1) / np.linalg.norm(ours, axis=-1)
    assert (cosines / np.linalg.norm(library, axis=-1) > 0.9995).all()
    np.testing.assert_array_equal(ours[:, 0], library[:, 0])


@pytest.mark.parametrize(("repeats", "expected"), [(1, 12), (4, 12)])
def test_the_first_block_projects_an_id_that_repeats_once(repeats: int, expected: int) -> None:
    model, rows = tiny_model(), []
    item = Prompted(list(range(5, 9)), [list(range(9, 17))])
    hook = model.model.layers[0].self_attn.q_proj.register_forward_hook(
        lambda _module, args, _output: rows.append(len(args[0]))
    )
    means = segment_means(model, [item] * repeats, LAYERS)
    hook.remove()
    assert rows == [expected]
    _, completion = plain_means(model, [item])
    np.testing.assert_allclose(
        means.completion, completion.repeat(repeats, 0), rtol=1e-4, atol=1e-5
    )


def test_an_unknown_family_is_read_plainly_with_a_warning() -> None:
    model, items = tiny_model("stablelm", num_key_value_heads=4), random_items()
    with pytest.warns(UserWarning, match="stablelm"):
        means = segment_means(model, items, LAYERS)
    context, completion = plain_means(model, items)
    np.testing.assert_allclose(means.context, context, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(means.completion, completion, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("budget", [1, 20, 50, 10_000])
def test_the_token_budget_changes_nothing(budget: int) -> None:
    model, items = tiny_model(), random_items(8)
    expected = segment_means(model, items, LAYERS)
    means = segment_means(model, items, LAYERS, budget=budget)
    np.testing.assert_allclose(means.completion, expected.completion, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(means.context, expected.context, rtol=1e-5, atol=1e-6)


def test_sharing_a_prompt_changes_nothing() -> None:
    model, (item,) = tiny_model(), random_items(1, seed=3)
    separate = [Prompted(item.prompt, [completion]) for completion in item.completions]
    together, alone = segment_means(model, [item], LAYERS), segment_means(model, separate, LAYERS)
    np.testing.assert_allclose(together.completion, alone.completion, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("family", ["olmo2", "stablelm"])
@pytest.mark.filterwarnings("ignore:stablelm")
def test_a_prompt_can_be_read_alone(family: str) -> None:
    model, (item,) = tiny_model(family, num_key_value_heads=4), random_items(1)
    expected, means = (segment_means(model, [i], LAYERS) for i in (item, Prompted(item.prompt, [])))
    np.testing.assert_allclose(means.context, expected.context, rtol=1e-4, atol=1e-5)
    assert means.completion.shape == (0, 3, 32)


def test_layers_come_in_the_order_asked_for() -> None:
    model, items = tiny_model(), random_items(2)
    there, back = segment_means(model, items, [0, 3]), segment_means(model, items, [3, 0])
    np.testing.assert_array_equal(there.completion, back.completion[:, ::-1])


def test_a_planted_direction_is_recovered() -> None:
    """One word is made to write a direction; completions with it point along it."""
    model = tiny_model()
    direction = np.random.default_rng(0).normal(size=32).astype(np.float32)
    with torch.no_grad():
        model.model.embed_tokens.weight[54] += 10 * torch.from_numpy(direction)
    items = [Prompted([5, 6], [[10, 54, 12], [10, 11, 12]])]
    with_word, without = segment_means(model, items, [0]).completion[:, 0]
    difference = with_word - without
    cosine = difference @ direction / np.linalg.norm(difference) / np.linalg.norm(direction)
    assert cosine > 0.99


def test_a_segment_without_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="item 1"):
        segment_means(tiny_model(), [Prompted([5], [[6]]), Prompted([5], [[]])], [0])


def test_batches_keep_order_and_budget() -> None:
    items = random_items(20)
    made = list(batches(items, 60))
    assert [item for batch in made for item in batch] == items
    assert all(len(b) == 1 or sum(sum(i.lengths) for i in b) <= 60 for b in made)


def test_the_model_is_left_as_it_was() -> None:
    model = tiny_model()
    before = model.config._attn_implementation
    segment_means(model, random_items(1), [0])
    assert model.config._attn_implementation == before
    assert not any(block._forward_pre_hooks for block in decoder_blocks(model))
