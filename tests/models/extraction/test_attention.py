"""Tiles cover every row once, and every row sees its own sequence so far."""

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from core.models.extraction.attention import SIZES, Tiles
from core.models.extraction.prefix_tree import Trie

RANDOM = np.random.default_rng(0)
SEQUENCES = [RANDOM.integers(0, 2, length).tolist() for length in (3, 8, 5, 1, 24, 50, 50, 7, 42)]
SEQUENCES += [SEQUENCES[5][:30] + SEQUENCES[6], SEQUENCES[5][:10]]
TRIE = Trie(SEQUENCES)


def dense_mask(window: int | None) -> torch.Tensor:
    """What sees what, written down sequence by sequence."""
    seen = torch.zeros(len(TRIE.ids), len(TRIE.ids), dtype=torch.bool)
    for path in TRIE.paths:
        for at, row in enumerate(path):
            seen[row, path[max(0, at + 1 - (window or at + 1)) : at + 1]] = True
    return seen


@pytest.mark.parametrize("sizes", [(1, 1), (4, 1), (8, 16), (64, 16), (1000, 64)])
@pytest.mark.parametrize("window", [None, 5])
def test_attention_by_tiles_is_attention_under_the_whole_mask(
    sizes: tuple[int, int], window: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SIZES, "cpu", sizes)
    torch.manual_seed(0)
    total = len(TRIE.ids)
    query, key, value = torch.randn(total, 4, 8), torch.randn(total, 2, 8), torch.randn(total, 2, 8)
    tiles = Tiles(TRIE, torch.device("cpu"))
    found = tiles.attend(query, key, value, scaling=None, window=window)
    expected = scaled_dot_product_attention(
        *(states.transpose(0, 1)[None] for states in (query, key, value)),
        attn_mask=dense_mask(window),
        enable_gqa=True,
    )
    np.testing.assert_allclose(found, expected[0].transpose(0, 1), rtol=1e-4, atol=1e-5)
