"""A prefix tree has every sequence, each prefix once; in tiles, each row sees its own sequence."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from core.models.extraction.attention import SIZES, Tiles, Trie

RANDOM = np.random.default_rng(0)
SEQUENCES = [RANDOM.integers(0, 2, length).tolist() for length in (3, 8, 5, 1, 24, 50, 50, 7, 42)]
SEQUENCES += [SEQUENCES[5][:30] + SEQUENCES[6], SEQUENCES[5][:10]]
TRIE = Trie(SEQUENCES)
ANY = st.lists(st.lists(st.integers(0, 2), max_size=8), min_size=1, max_size=12)


def dense_mask(window: int | None) -> torch.Tensor:
    """Which row sees which key, sequence by sequence."""
    visible = torch.zeros(len(TRIE.ids), len(TRIE.ids), dtype=torch.bool)
    for path in TRIE.paths:
        for at, row in enumerate(path):
            visible[row, path[max(0, at + 1 - (window or at + 1)) : at + 1]] = True
    return visible


@pytest.mark.parametrize("sizes", [(1, 1), (4, 1), (8, 16), (64, 16), (1000, 64)])
@pytest.mark.parametrize("window", [None, 5])
def test_attention_by_tiles_is_attention_under_the_dense_mask(
    sizes: tuple[int, int], window: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SIZES, "cpu", sizes)
    torch.manual_seed(0)
    total = len(TRIE.ids)
    query, key, value = torch.randn(total, 4, 8), torch.randn(total, 2, 8), torch.randn(total, 2, 8)
    tiles = Tiles(TRIE, torch.device("cpu"))
    attended = tiles.attend(query, key, value, scaling=None, window=window)
    expected = scaled_dot_product_attention(
        *(states.transpose(0, 1)[None] for states in (query, key, value)),
        attn_mask=dense_mask(window),
        enable_gqa=True,
    )
    np.testing.assert_allclose(attended, expected[0].transpose(0, 1), rtol=1e-4, atol=1e-5)


@given(ANY)
def test_each_path_spells_its_sequence(sequences: list[list[int]]) -> None:
    trie = Trie(sequences)
    assert [trie.ids[path].tolist() for path in trie.paths] == sequences


@given(ANY)
def test_there_are_as_many_rows_as_different_prefixes(sequences: list[list[int]]) -> None:
    prefixes = {tuple(s[: at + 1]) for s in sequences for at in range(len(s))}
    assert len(Trie(sequences).ids) == len(prefixes)


@given(ANY)
def test_a_row_sees_its_ancestors_and_itself(sequences: list[list[int]]) -> None:
    trie = Trie(sequences)
    for row in range(len(trie.ids)):
        visible = [key for key in range(len(trie.ids)) if key <= row < trie.end[key]]
        assert visible == [*trie.ancestors(row), row]


def test_positions_go_on_where_what_is_shared_ends() -> None:
    trie = Trie([[5, 6, 7], [5, 6, 8, 9], [4]])
    assert trie.ids.tolist() == [4, 5, 6, 7, 8, 9]
    assert trie.position.tolist() == [0, 0, 1, 2, 2, 3]
    assert trie.paths == [[1, 2, 3], [1, 2, 4, 5], [0]]
