"""Many prompts with their completions in one forward pass, without padding and without waste.

The tokens of a batch lie in one row, `[prompt | completion | completion | prompt | …]`: linear
layers see every token once. Attention is cut along the prompts: a prompt attends to itself, each
completion to its prompt and itself, and completions never see each other. Position ids restart
where the prompt ends, for every completion. Both are needed: with the right mask and running
positions the vectors are silently wrong (cosine 0.9977).

Knows families whose blocks take their attention from the library's interface and say there what
is special about it (sliding window, soft cap). `can_pack` says whether a model is one of them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.bias import causal_lower_right
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

NAME = "pairtrace_packed"
FAMILIES = {
    *("olmo", "olmo2", "olmo3", "llama", "qwen2", "qwen3", "mistral"),
    *("gemma", "gemma2", "gemma3_text", "gpt_neox", "phi", "phi3"),
}
LENGTH_DEPENDENT_ROPE = ("dynamic", "longrope")  # angles depend on what is batched


@dataclass(frozen=True)
class Prompted:
    """One prompt and the completions that are read after it, as token ids."""

    prompt: Sequence[int]
    completions: Sequence[Sequence[int]]

    @property
    def lengths(self) -> list[int]:
        """Tokens of the prompt, then of each completion."""
        return [len(self.prompt), *map(len, self.completions)]


@dataclass(frozen=True)
class Layout:
    """Where the segments of each item lie in the row."""

    lengths: tuple[tuple[int, ...], ...]  # per item: the prompt's, then each completion's


def can_pack(model: Any) -> bool:
    """Whether a model's attention is one that this module knows."""
    config = model.config
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = {str(part) for part in (rope.get("rope_type"), rope.get("type"))}
    return config.model_type in FAMILIES and not kinds.intersection(LENGTH_DEPENDENT_ROPE)


def forward_packed(model: Any, items: Sequence[Prompted]) -> None:
    """Run the items through a model's blocks; what it computes is read by `recording`."""
    layout = Layout(tuple(tuple(item.lengths) for item in items))
    ids = list(chain.from_iterable(chain(item.prompt, *item.completions) for item in items))
    device = next(model.parameters()).device
    with _attending_packed(model):
        model.base_model(
            input_ids=torch.tensor([ids], device=device),
            position_ids=_positions(layout).to(device),
            use_cache=False,
            packed_layout=layout,
        )


def _positions(layout: Layout) -> Tensor:
    """Position of each token, (1, token); completions go on where their prompt ends."""
    parts = []
    for prompt, *completions in layout.lengths:
        parts += [torch.arange(prompt), *(torch.arange(n) + prompt for n in completions)]
    return torch.cat(parts)[None]


@contextmanager
def _attending_packed(model: Any) -> Iterator[None]:
    before = model.config._attn_implementation
    model.config._attn_implementation = NAME
    try:
        yield
    finally:
        model.config._attn_implementation = before


def packed_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    *,
    packed_layout: Layout,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention of (1, head, token, d_head) queries, item by item; returns (1, token, head, d).

    A prompt and its first completion are one causal sequence; each further completion attends to
    a copy of the prompt's keys in front of its own.
    """
    out = torch.empty_like(query)
    start = 0
    for prompt, *completions in packed_layout.lengths:
        first = start + prompt + (completions[0] if completions else 0)
        pieces: list[tuple[slice, slice | None]] = [(slice(start, first), None)]
        for length in completions[1:]:
            pieces.append((slice(first, first + length), slice(start, start + prompt)))
            first += length
        for rows, before in pieces:
            out[:, :, rows] = _attend(
                query[:, :, rows],
                _after(key, rows, before),
                _after(value, rows, before),
                scaling=scaling,
                window=sliding_window,
                softcap=softcap,
            )
        start = first
    return out.transpose(1, 2), None


def _after(states: Tensor, rows: slice, before: slice | None) -> Tensor:
    own = states[:, :, rows]
    return own if before is None else torch.cat([states[:, :, before], own], dim=2)


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    scaling: float | None,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    """Causal attention of the last `q` of `k` tokens to all `k`."""
    n_query, n_key = query.shape[2], key.shape[2]
    grouped = query.shape[1] != key.shape[1]
    narrow = window is not None and n_key > window
    if softcap is not None:
        mask = _visible(n_query, n_key, window, query.device)
        return _soft_capped(query, key, value, mask, scaling, softcap)
    if not narrow and n_query == n_key:
        return scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scaling, enable_gqa=grouped
        )
    lower_right = causal_lower_right(n_query, n_key) if query.is_cuda and not narrow else None
    mask = _visible(n_query, n_key, window, query.device) if lower_right is None else lower_right
    return scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=scaling, enable_gqa=grouped
    )


def _visible(n_query: int, n_key: int, window: int | None, device: torch.device) -> Tensor:
    """Which keys each query sees, (query, key): none after it, none `window` or more before."""
    ones = torch.ones(n_query, n_key, dtype=torch.bool, device=device)
    mask = ones.tril(n_key - n_query)
    return mask if window is None else mask & ones.triu(n_key - n_query - window + 1)


def _soft_capped(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float | None, softcap: float
) -> Tensor:
    """Gemma 2's attention: scores are squashed into ±softcap before the softmax."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scores = query @ key.transpose(2, 3) * (scaling or query.shape[-1] ** -0.5)
    scores = torch.tanh(scores / softcap) * softcap
    weights = scores.masked_fill(~mask, -torch.inf).softmax(dim=-1, dtype=torch.float32)
    return weights.to(query.dtype) @ value


AttentionInterface.register(NAME, packed_attention)
