"""The gradient baseline: one DPO step on a pair, and what it would do to a behavior's margin.

At the reference the gradient of the DPO loss of a pair is −β/2 · ∇(log p(chosen) − log p(rejected))
(arXiv 2305.18290, eq. 7, with policy = reference). So a small step on pair d changes the margin
m_i = log p(policy's completion) − log p(reference's) of prompt i by lr · β/2 · ⟨∇m_i, ∇m_d⟩. The
score is that inner product, or its cosine (LESS, arXiv 2402.04333), of gradients that a seeded
random projection has shortened: of all parameters, of some blocks', or of low-rank updates. One
forward and backward pass per completion: what makes it dear.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from core.attribution.baselines.lora import low_rank
from core.geometry import cosines
from core.models.residual import decoder_blocks

PROJECTED = 1024  # numbers kept of each gradient

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Contrast:
    """A prompt with the completion whose probability should rise, and the one that should fall."""

    prompt: Sequence[int]
    upper: Sequence[int]
    lower: Sequence[int]


def margin_gradients(
    model: Any,
    contrasts: Sequence[Contrast],
    *,
    projected: int | None = PROJECTED,
    blocks: Sequence[int] | None = None,
    rank: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Floats:
    """∇(log p(upper) − log p(lower)) of each contrast, (n, projected).

    Over all parameters, or over those of some decoder `blocks` only; with a `rank`, over the
    factors B of low-rank updates of these blocks at B = 0 (core.attribution.baselines.lora).
    `projected` None keeps the whole gradient, (n, parameters).
    """
    with taken_over(model, blocks, rank, seed) as parameters:
        shorten = Projection(parameters, projected, seed)
        rows = []
        for number, contrast in enumerate(contrasts):
            gradients = torch.autograd.grad(margin(model, contrast), parameters)
            rows.append(shorten(gradients).cpu().numpy())
            if progress is not None:
                progress(number + 1, len(contrasts))
    return np.array(rows, np.float32)


@contextmanager
def taken_over(
    model: Any, blocks: Sequence[int] | None = None, rank: int | None = None, seed: int = 0
) -> Iterator[list[Tensor]]:
    """What a gradient is taken over; the last blocks alone cost less of the backward pass."""
    if rank is not None:
        with low_rank(model, rank=rank, blocks=blocks, seed=seed) as updates:
            yield [update.up for update in updates]
    else:
        every = decoder_blocks(model)
        parts = [model] if blocks is None else [every[number] for number in blocks]
        yield [p for part in parts for p in part.parameters() if p.requires_grad]


def agreeing(target: Sequence[Floats], rows: Sequence[Floats]) -> Floats:
    """Mean over checkpoints of cos(mean gradient of the behavior, gradient of each pair), (pair,).

    `target` and `rows` hold one array per checkpoint (LESS, with equal weights). Away from the
    reference a pair's DPO gradient is its margin's times a positive number, which cosine drops.
    """
    found = [cosines(t.mean(axis=0)[None], r)[0] for t, r in zip(target, rows, strict=True)]
    mean: Floats = np.mean(found, axis=0)
    return mean


def margin(model: Any, contrast: Contrast) -> Tensor:
    """log p(upper) − log p(lower), given the prompt; sums over tokens."""
    upper, lower = (
        _log_prob(model, contrast.prompt, side) for side in (contrast.upper, contrast.lower)
    )
    return upper - lower


class Projection:
    """A random matrix of ±1 signs in hashed form: each coordinate is added to one of `size` sums.

    A count sketch (Charikar et al. 2002): inner products are kept in expectation, at the cost of
    one pass over the gradient, and the matrix needs two numbers per parameter.
    """

    def __init__(self, parameters: Sequence[Tensor], size: int | None, seed: int) -> None:
        self.size = size
        if size is None:
            return
        total = sum(p.numel() for p in parameters)
        device = parameters[0].device
        generator = torch.Generator().manual_seed(seed)
        self.place = torch.randint(size, (total,), generator=generator).to(device)
        self.sign = (torch.randint(2, (total,), generator=generator) * 2.0 - 1).to(device)

    def __call__(self, gradients: Sequence[Tensor]) -> Tensor:
        """One gradient, as tensors, to (size,)."""
        flat = torch.cat([g.reshape(-1).float() for g in gradients])
        if self.size is None:
            return flat
        return torch.zeros(self.size, device=flat.device).index_add_(
            0, self.place, flat * self.sign
        )


def _log_prob(model: Any, prompt: Sequence[int], completion: Sequence[int]) -> Tensor:
    device = next(model.parameters()).device
    ids = torch.tensor([[*prompt, *completion]], device=device)
    logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1].float()
    return -cross_entropy(logits, ids[0, len(prompt) :], reduction="sum")
