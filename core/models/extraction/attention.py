"""A prefix tree of token sequences, and attention over its rows in tiles.

Equal prefixes have equal streams, whatever follows, so each is computed once. The keys that a row
sees are its ancestors and itself. Rows are computed in tiles of neighbours, which share most
ancestors: the keys of a tile are the ancestors of its first row, then its rows, so few keys are
computed only to be masked. Tiles with equally many keys are one call, since a call per item costs
more than its products; their sizes are multiples of the vector's width, since others cost twice as
much. Knows token ids only, no model.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

SIZES = {"cpu": (64, 16), "cuda": (128, 64)}  # rows of a tile; its keys are a multiple of


Ints = NDArray[np.int64]


class Trie:
    """Token sequences in which a common prefix is stored once: a row per node, parents first.

    Sequences are sorted and each adds the rows that its predecessor does not have. Row j is then an
    ancestor of row i, or i itself, if and only if j ≤ i < end(j). `ids`, `position` and `end` are
    (row,): its token, its number of ancestors, and the first row after its descendants. `paths`
    has each sequence's rows, in the order of `sequences`.
    """

    def __init__(self, sequences: Sequence[list[int]]) -> None:
        ids: list[int] = []
        position: list[int] = []
        end: list[int] = []
        self._owner: list[int] = []  # a sequence that goes through the row
        self.paths: list[list[int]] = [[] for _ in sequences]
        before: list[int] = []
        path: list[int] = []
        for number in sorted(range(len(sequences)), key=sequences.__getitem__):
            sequence = sequences[number]
            shared = _shared_tokens(before, sequence)
            start, size = len(ids), len(sequence) - shared
            for row in path[shared:]:
                end[row] = start
            ids.extend(sequence[shared:])
            position.extend(range(shared, len(sequence)))
            end.extend([0] * size)
            self._owner.extend([number] * size)
            path = [*path[:shared], *range(start, start + size)]
            self.paths[number], before = path, sequence
        for row in path:
            end[row] = len(ids)
        self.ids, self.position, self.end = (np.array(x, np.int64) for x in (ids, position, end))

    def ancestors(self, row: int) -> list[int]:
        """The row's ancestors, from the first token down."""
        return self.paths[self._owner[row]][: self.position[row]]


class Tiles:
    """The rows of a batch, each in one tile."""

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
    """Groups of tiles with equally many keys: rows, (tile, row), and keys, (tile, key).

    The last tile is filled up with the batch's last row, and keys with −1.
    """
    total = len(trie.ids)
    first = np.arange(0, total, rows)
    row = np.minimum(first[:, None] + np.arange(rows), total - 1)
    n_above = trie.position[first]
    count = n_above + np.minimum(first + rows, total) - first
    width = -(-count // multiple) * multiple
    key = np.full((len(first), width.max()), -1)
    for tile, start in enumerate(first.tolist()):
        stop = count[tile]
        key[tile, : n_above[tile]] = trie.ancestors(start)
        key[tile, n_above[tile] : stop] = np.arange(start, start + stop - n_above[tile])
    groups = [width == columns for columns in np.unique(width)]
    return [row[some] for some in groups], [key[some, : width[some][0]] for some in groups]


class Group:
    """Tiles with equally many rows and keys; a key of −1 is masked."""

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
            visible = (key <= row) & (row < end[key]) & self._is_key[:, None]
            if window is not None:
                visible &= position[row] - position[key] < window
            mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
            self._masks[window, dtype] = mask.masked_fill_(~visible, -torch.inf)[:, None]
        return self._masks[window, dtype]


def _shared_tokens(left: list[int], right: list[int]) -> int:
    """Length of the longest common prefix."""
    size = min(len(left), len(right))
    if left[:size] == right[:size]:
        return size
    return next(at for at, (a, b) in enumerate(zip(left, right, strict=False)) if a != b)


def _pick(states: Tensor, index: Tensor) -> Tensor:
    rows = states.index_select(0, index.flatten())
    return rows.unflatten(0, index.shape).transpose(1, 2)


def _soft_capped(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float | None, softcap: float
) -> Tensor:
    """Gemma 2's attention: scores become tanh(score / softcap) · softcap before the softmax."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scores = query @ key.transpose(2, 3) * (scaling or query.shape[-1] ** -0.5)
    scores = torch.tanh(scores / softcap) * softcap + mask
    return scores.softmax(dim=-1, dtype=torch.float32).to(query.dtype) @ value
