"""Tiles cover every row once, and every row sees its prompt and its own segment so far."""

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from core.models.tiles import SIZES, Places, Tiles

LENGTHS = [[3, 5, 2, 9], [1, 1], [20, 4, 30], [7], [2, 40]]


def dense_mask(lengths: list[list[int]], window: int | None) -> torch.Tensor:
    """What sees what, written down token by token."""
    tokens = [
        (item, segment, at + (parts[0] if segment else 0))
        for item, parts in enumerate(lengths)
        for segment, length in enumerate(parts)
        for at in range(length)
    ]

    def sees(row: tuple[int, int, int], key: tuple[int, int, int]) -> bool:
        together = row[0] == key[0] and key[1] in (0, row[1])
        return together and 0 <= row[2] - key[2] < (window or 10**9)

    return torch.tensor([[sees(row, key) for key in tokens] for row in tokens])


def test_completions_go_on_where_their_prompt_ends() -> None:
    places = Places([[3, 2, 4], [1, 2]])
    assert places.position.tolist() == [0, 1, 2, 3, 4, 3, 4, 5, 6, 0, 1, 2]


@pytest.mark.parametrize("sizes", [(1, 1), (4, 1), (8, 16), (64, 16), (1000, 64)])
@pytest.mark.parametrize("window", [None, 5])
def test_attention_by_tiles_is_attention_under_the_whole_mask(
    sizes: tuple[int, int], window: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SIZES, "cpu", sizes)
    torch.manual_seed(0)
    total = sum(map(sum, LENGTHS))
    query, key, value = torch.randn(total, 4, 8), torch.randn(total, 2, 8), torch.randn(total, 2, 8)
    tiles = Tiles(Places(LENGTHS), torch.device("cpu"))
    found = tiles.attend(query, key, value, scaling=None, window=window)
    expected = scaled_dot_product_attention(
        *(states.transpose(0, 1)[None] for states in (query, key, value)),
        attn_mask=dense_mask(LENGTHS, window),
        enable_gqa=True,
    )
    np.testing.assert_allclose(found, expected[0].transpose(0, 1), rtol=1e-4, atol=1e-5)
