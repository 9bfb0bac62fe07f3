"""Many prompts with their completions in one forward pass, without padding and without waste.

The tokens of a batch lie in one row, `[prompt | completion | completion | prompt | …]`: linear
layers see every token once. Attention is cut along the prompts: a prompt attends to itself, each
completion to its prompt and itself, and completions never see each other. Position ids restart
where the prompt ends, for every completion. Both are needed: with the right mask and running
positions the vectors are silently wrong (cosine 0.9977).

Knows families whose blocks take their attention from the library's interface and say there what
is special about it (sliding window, soft cap). `can_pack` says whether a model is one of them;
`core.models.tiles` says which rows and keys are computed together.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface

from core.models import blocks
from core.models.residual import recording
from core.models.tiles import Places, Tiles

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
    """Whether a model's attention is one that this module knows."""
    config = model.config
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = {str(part) for part in (rope.get("rope_type"), rope.get("type"))}
    return config.model_type in FAMILIES and not kinds.intersection(LENGTH_DEPENDENT_ROPE)


def packed_streams(
    model: Any, items: Sequence[Prompted], layers: Sequence[int]
) -> dict[int, Tensor]:
    """The residual stream at each of `layers`, (token, d_model), of all items' tokens in a row."""
    device = next(model.parameters()).device
    tokens = list(chain.from_iterable(chain(item.prompt, *item.completions) for item in items))
    places = Places([item.lengths for item in items])
    ids, tiles = torch.tensor(tokens, device=device), Tiles(places, device)
    position = torch.from_numpy(places.position).to(device)
    if blocks.are_written_out(model):
        return blocks.streams(model, ids, position, tiles, layers)
    with _attending_packed(model), recording(model, layers) as found:
        model.base_model(
            input_ids=ids[None], position_ids=position[None], use_cache=False, packed_tiles=tiles
        )
    return {layer: found[layer][0] for layer in layers}


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
