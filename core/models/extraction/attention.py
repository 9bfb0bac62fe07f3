"""Which rows of a trie of tokens are attended to together, and which keys they see.

Rows are taken a few at a time. Neighbours have most of what lies above them in common, so the keys
of a tile are what lies above its first row, then its rows: few keys are computed only to be
hidden. Tiles with equally many keys are one call, since a call per item costs more in calls than
in products; their sizes are multiples of the vector's width, since others cost twice as much.
Knows the trie only, no model.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from core.models.extraction.prefix_tree import Ints, Trie

SIZES = {"cpu": (64, 16), "cuda": (128, 64)}  # rows of a tile; its keys are a multiple of


class Tiles:
    """All rows of a batch, once."""

    def __init__(self, trie: Trie, device: torch.device) -> None:
        rows, keys = _cut(trie, *SIZES["cpu" if device.type == "cpu" else "cuda"])
        of_row = [torch.from_numpy(part).to(device) for part in (trie.position, trie.end)]
        self.groups = [Group(row, key, of_row) for row, key in zip(rows, keys, strict=True)]
        row = np.concatenate([row.ravel() for row in rows])
        place = np.empty(len(trie.ids), np.int64)
        place[row] = np.arange(len(row))
        self._place = torch.from_numpy(place).to(device)

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        scaling: float | None,
        window: int | None = None,
        softcap: float | None = None,
    ) -> Tensor:
        """Attention of (token, head, d_head) states, where keys may have fewer heads."""
        parts = []
        for group in self.groups:
            states = group.rows(query), group.keys(key), group.keys(value)
            mask = group.mask(window, query.dtype)
            if softcap is None:
                grouped = query.shape[1] != key.shape[1]
                part = scaled_dot_product_attention(
                    *states, attn_mask=mask, scale=scaling, enable_gqa=grouped
                )
            else:
                part = _soft_capped(*states, mask, scaling, softcap)
            parts.append(part.transpose(1, 2).flatten(0, 1))  # (tile · row, head, d_head)
        return torch.cat(parts).index_select(0, self._place)


def _cut(trie: Trie, rows: int, multiple: int) -> tuple[list[Ints], list[Ints]]:
    """Rows and keys, (tile, row) and (tile, key), of tiles with equally many keys.

    The last tile repeats the batch's last row; a key of −1 is none.
    """
    total = len(trie.ids)
    first = np.arange(0, total, rows)
    row = np.minimum(first[:, None] + np.arange(rows), total - 1)
    above = trie.position[first]
    count = above + np.minimum(first + rows, total) - first
    width = -(-count // multiple) * multiple
    key = np.full((len(first), width.max()), -1)
    for tile, start in enumerate(first.tolist()):
        stop = count[tile]
        key[tile, : above[tile]] = trie.above(start)
        key[tile, above[tile] : stop] = np.arange(start, start + stop - above[tile])
    groups = [width == columns for columns in np.unique(width)]
    return [row[some] for some in groups], [key[some, : width[some][0]] for some in groups]


class Group:
    """Tiles with as many rows and keys each. A key of −1 is none."""

    def __init__(self, row: Ints, key: Ints, of_row: Sequence[Tensor]) -> None:
        device = of_row[0].device
        self._row, self._key = (torch.from_numpy(part).to(device) for part in (row, key))
        self._is_key = self._key >= 0
        self._key = self._key.clamp(min=0)
        self._of_row = of_row
        self._masks: dict[tuple[int | None, torch.dtype], Tensor] = {}

    def rows(self, states: Tensor) -> Tensor:
        """The tiles' rows of (token, head, d_head): (tile, head, row, d_head)."""
        return _pick(states, self._row)

    def keys(self, states: Tensor) -> Tensor:
        """The tiles' keys of (token, head, d_head): (tile, head, key, d_head)."""
        return _pick(states, self._key)

    def mask(self, window: int | None, dtype: torch.dtype) -> Tensor:
        """0 where a row sees a key and −inf elsewhere, (tile, 1, row, key); for every layer."""
        if (window, dtype) not in self._masks:
            position, end = self._of_row
            row, key = self._row[:, :, None], self._key[:, None]
            seen = (key <= row) & (row < end[key]) & self._is_key[:, None]
            if window is not None:
                seen &= position[row] - position[key] < window
            hidden = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
            self._masks[window, dtype] = hidden.masked_fill_(~seen, -torch.inf)[:, None]
        return self._masks[window, dtype]


def _pick(states: Tensor, index: Tensor) -> Tensor:
    rows = states.index_select(0, index.flatten())
    return rows.unflatten(0, index.shape).transpose(1, 2)


def _soft_capped(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float | None, softcap: float
) -> Tensor:
    """Gemma 2's attention: scores are squashed into ±softcap before the softmax."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scores = query @ key.transpose(2, 3) * (scaling or query.shape[-1] ** -0.5)
    scores = torch.tanh(scores / softcap) * softcap + mask
    return scores.softmax(dim=-1, dtype=torch.float32).to(query.dtype) @ value
