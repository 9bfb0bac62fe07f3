"""One forward pass over prompts and completions packed without padding.

The tokens of a batch are one row, in which common prefixes are stored once
(core.models.extraction.attention): linear layers see no token twice. A token attends to those
before it in its own sequence, and its position is its place there. Both are needed: with the right
mask and running positions the vectors are silently wrong (cosine 0.9977).

Works for families whose blocks take their attention from the library's interface and pass it what
is special about theirs (sliding window, soft cap); `can_pack` tells them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface

from core.models.extraction import llama
from core.models.extraction.attention import Tiles, Trie
from core.models.residual import recording

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


def can_pack(model: Any) -> bool:
    """Whether a model's attention can be computed on packed batches."""
    config = model.config
    rope = getattr(config, "rope_parameters", None) or {}
    types = {str(rope.get("rope_type")), str(rope.get("type"))}
    return config.model_type in FAMILIES and not types.intersection(LENGTH_DEPENDENT_ROPE)


def packed_streams(
    model: Any, items: Sequence[Prompted], layers: Sequence[int]
) -> tuple[dict[int, Tensor], list[list[int]]]:
    """The residual stream at each of `layers`, (row, d_model), and which rows are each segment's:
    every item's prompt, then its completions."""
    device = next(model.parameters()).device
    trie = Trie([[*item.prompt, *after] for item in items for after in ((), *item.completions)])
    starts = [at for item in items for at in (0, *[len(item.prompt)] * len(item.completions))]
    segments = [path[start:] for path, start in zip(trie.paths, starts, strict=True)]
    ids, position = (torch.from_numpy(part).to(device) for part in (trie.ids, trie.position))
    tiles = Tiles(trie, device)
    if llama.supports(model):
        return llama.streams(model, ids, position, tiles, layers), segments
    with _attending_packed(model), recording(model, layers) as streams:
        model.base_model(
            input_ids=ids[None], position_ids=position[None], use_cache=False, packed_tiles=tiles
        )
    return {layer: streams[layer][0] for layer in layers}, segments


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
    packed_tiles: Tiles,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention of (1, head, token, d_head) states, tile by tile; (1, token, head, d_head)."""
    states = (part[0].transpose(0, 1) for part in (query, key, value))
    attended = packed_tiles.attend(*states, scaling=scaling, window=sliding_window, softcap=softcap)
    return attended[None], None


AttentionInterface.register(NAME, packed_attention)
