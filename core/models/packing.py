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

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

NAME = "pairtrace_packed"
FAMILIES = {
    *("olmo", "olmo2", "olmo3", "llama", "qwen2", "qwen3", "mistral"),
    *("gemma", "gemma2", "gemma3_text", "gpt_neox", "phi", "phi3"),
}
SHORT = 128  # tokens: below, one masked call beats several exact ones
ROWS = 64  # queries per call in long items: saves a quarter of attention's time on a CPU
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


Cut = tuple[slice, list[slice]]  # rows, and the keys they see


class Piece:
    """Rows of the batch whose attention is computed in one call, and the keys they see.

    `position` and `segment` (0 is the prompt) are those of every row of the item.
    """

    def __init__(self, rows: slice, keys: Sequence[slice], position: Tensor, segment: Tensor):
        self.rows = rows
        self.keys = keys
        self._positions = position[rows], torch.cat([position[key] for key in keys])
        self._segments = segment[rows], torch.cat([segment[key] for key in keys])
        self._masks: dict[tuple[int | None, torch.dtype], Tensor] = {}

    def of(self, states: Tensor) -> Tensor:
        """The piece's keys or values, out of (1, head, token, d_head)."""
        parts = [states[:, :, key] for key in self.keys]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)

    def mask(self, window: int | None, dtype: torch.dtype) -> Tensor:
        """0 where a row sees a key and −inf elsewhere, (row, key); the same in every layer."""
        if (window, dtype) not in self._masks:
            (row, key), (of_row, of_key) = self._positions, self._segments
            distance = row[:, None] - key
            seen = (distance >= 0) & ((of_key == 0) | (of_row[:, None] == of_key))
            if window is not None:
                seen &= distance < window
            hidden = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
            self._masks[window, dtype] = hidden.masked_fill_(~seen, -torch.inf)
        return self._masks[window, dtype]


def can_pack(model: Any) -> bool:
    """Whether a model's attention is one that this module knows."""
    config = model.config
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = {str(part) for part in (rope.get("rope_type"), rope.get("type"))}
    return config.model_type in FAMILIES and not kinds.intersection(LENGTH_DEPENDENT_ROPE)


def forward_packed(model: Any, items: Sequence[Prompted]) -> None:
    """Run the items through a model's blocks; what it computes is read by `recording`."""
    device = next(model.parameters()).device
    ids = list(chain.from_iterable(chain(item.prompt, *item.completions) for item in items))
    position, segment = _places(items, device)
    with _attending_packed(model):
        model.base_model(
            input_ids=torch.tensor([ids], device=device),
            position_ids=position[None],
            use_cache=False,
            packed_pieces=_pieces(items, position, segment),
        )


def _places(items: Sequence[Prompted], device: torch.device) -> tuple[Tensor, Tensor]:
    """Position and segment of each token; completions go on where their prompt ends."""
    position, segment = [], []
    for item in items:
        prompt, *completions = item.lengths
        position += [np.arange(prompt), *(np.arange(n) + prompt for n in completions)]
        segment += [np.repeat(np.arange(len(item.lengths)), item.lengths)]
    joined = (np.concatenate(part) for part in (position, segment))
    position_ids, segments = (torch.from_numpy(part).to(device) for part in joined)
    return position_ids, segments


def _pieces(items: Sequence[Prompted], position: Tensor, segment: Tensor) -> list[Piece]:
    """A short item is one piece. In a long one, completions do not pay for each other, and rows
    are taken a few at a time, so that little is computed only to be hidden."""
    pieces, start = [], 0
    for item in items:
        stop = start + sum(item.lengths)
        if stop - start <= SHORT:
            cuts: list[Cut] = [(slice(start, stop), [slice(start, stop)])]
        else:
            at_once = ROWS if position.device.type == "cpu" else stop - start
            cuts = list(_cut(start, item.lengths, at_once))
        pieces += [Piece(rows, keys, position, segment) for rows, keys in cuts]
        start = stop
    return pieces


def _cut(start: int, lengths: Sequence[int], at_once: int) -> Iterator[Cut]:
    """Rows and keys of a long item: its prompt, then each completion after the prompt."""
    prompt = slice(start, start + lengths[0])
    for number, length in enumerate(lengths):
        before = [prompt] if number else []
        for row in range(start, start + length, at_once):
            last = min(row + at_once, start + length)
            yield slice(row, last), _joined([*before, slice(start, last)])
        start += length


def _joined(keys: list[slice]) -> list[slice]:
    """Neighbouring ranges as one: it can be read without a copy."""
    if len(keys) == 2 and keys[0].stop == keys[1].start:
        return [slice(keys[0].start, keys[1].stop)]
    return keys


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
    packed_pieces: Sequence[Piece],
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention of (1, head, token, d_head) states, piece by piece; (1, token, head, d_head)."""
    out = torch.empty_like(query)
    grouped = query.shape[1] != key.shape[1]
    for piece in packed_pieces:
        rows, keys, values = query[:, :, piece.rows], piece.of(key), piece.of(value)
        mask = piece.mask(sliding_window, query.dtype)
        if softcap is None:
            out[:, :, piece.rows] = scaled_dot_product_attention(
                rows, keys, values, attn_mask=mask, scale=scaling, enable_gqa=grouped
            )
        else:
            out[:, :, piece.rows] = _soft_capped(rows, keys, values, mask, scaling, softcap)
    return out.transpose(1, 2), None


def _soft_capped(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float | None, softcap: float
) -> Tensor:
    """Gemma 2's attention: scores are squashed into ±softcap before the softmax."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scores = query @ key.transpose(2, 3) * (scaling or query.shape[-1] ** -0.5)
    scores = torch.tanh(scores / softcap) * softcap + mask
    return scores.softmax(dim=-1, dtype=torch.float32).to(query.dtype) @ value


AttentionInterface.register(NAME, packed_attention)
