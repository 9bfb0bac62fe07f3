"""Extraction by the published loop and by ours on the same items, and how both are measured.

The loop (arXiv 2602.11079) is a reimplementation: one completion at a time, all blocks, all hidden
states, the LM head.
"""

import time
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.models.extraction.activations import segment_means
from core.models.extraction.batch import Prompted

LENGTHS = (125, 98, 81)  # mean tokens of prompt, chosen, rejected

Floats = NDArray[np.float32]


@torch.inference_mode()
def published_loop(model: Any, items: Sequence[Prompted], layer: int) -> Floats:
    """Datapoint vectors, (pair, d_model), one completion at a time through all blocks."""

    def mean(prompt: Sequence[int], completion: Sequence[int]) -> Tensor:
        ids = torch.tensor([[*prompt, *completion]], device=model.device)
        mask = torch.ones_like(ids)
        output = model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        return output.hidden_states[layer][0, len(prompt) :].float().mean(dim=0)

    rows = [mean(i.prompt, i.completions[0]) - mean(i.prompt, i.completions[1]) for i in items]
    return torch.stack(rows).cpu().numpy()


def datapoints(model: Any, items: Sequence[Prompted], layer: int) -> Floats:
    """Datapoint vectors, (pair, d_model), as an index computes them."""
    means = segment_means(model, sharing_prompts(items), [layer]).completion[:, 0]
    return means[0::2] - means[1::2]


def sharing_prompts(items: Sequence[Prompted]) -> list[Prompted]:
    """Consecutive items with the same prompt as one, as in an index."""
    groups = groupby(items, key=lambda item: item.prompt)
    return [Prompted(prompt, [c for i in group for c in i.completions]) for prompt, group in groups]


def random_items(
    n: int, *, vocabulary: int, means: Sequence[int] = LENGTHS, longest: int = 600
) -> list[Prompted]:
    """Random pairs whose lengths are log-normal with the means LENGTHS, as in preference data."""
    random = np.random.default_rng(0)
    lengths = [
        np.clip(random.lognormal(np.log(mean) - 0.125, 0.5, n), 8, longest).astype(int)
        for mean in means
    ]

    def ids(length: int) -> list[int]:
        return random.integers(5, vocabulary, length).tolist()  # type: ignore[no-any-return]

    return [Prompted(ids(p), [ids(c), ids(r)]) for p, c, r in zip(*lengths, strict=True)]


def count_tokens(items: Sequence[Prompted]) -> int:
    """Tokens of prompts and completions."""
    return sum(sum(item.lengths) for item in items)


def paired_cosines(left: Floats, right: Floats) -> NDArray[np.float64]:
    """cos(left_i, right_i), (row,)."""
    left, right = left.astype(np.float64), right.astype(np.float64)
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.einsum("nd,nd->n", left, right) / norms


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU-seconds of this process, and the result."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result
