"""A trie holds every sequence, every beginning once, parents first."""

from hypothesis import given
from hypothesis import strategies as st

from core.models.extraction.prefix_tree import Trie

SEQUENCES = st.lists(st.lists(st.integers(0, 2), max_size=8), min_size=1, max_size=12)


@given(SEQUENCES)
def test_each_path_spells_its_sequence(sequences: list[list[int]]) -> None:
    trie = Trie(sequences)
    assert [trie.ids[path].tolist() for path in trie.paths] == sequences


@given(SEQUENCES)
def test_there_are_as_many_rows_as_different_beginnings(sequences: list[list[int]]) -> None:
    beginnings = {tuple(s[: at + 1]) for s in sequences for at in range(len(s))}
    assert len(Trie(sequences).ids) == len(beginnings)


@given(SEQUENCES)
def test_a_row_sees_what_lies_above_it_and_itself(sequences: list[list[int]]) -> None:
    trie = Trie(sequences)
    for row in range(len(trie.ids)):
        seen = [key for key in range(len(trie.ids)) if key <= row < trie.end[key]]
        assert seen == [*trie.above(row), row]


def test_positions_go_on_where_what_is_shared_ends() -> None:
    trie = Trie([[5, 6, 7], [5, 6, 8, 9], [4]])
    assert trie.ids.tolist() == [4, 5, 6, 7, 8, 9]
    assert trie.position.tolist() == [0, 0, 1, 2, 2, 3]
    assert trie.paths == [[1, 2, 3], [1, 2, 4, 5], [0]]
