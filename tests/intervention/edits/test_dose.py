"""Sizes of one edit: every top k scaled, nothing else, and told to belong together."""

import pytest

from core.errors import UserError
from core.intervention.edits.dose import ladder, scaled, shape, siblings, total_k
from core.specs.recipes import AllOf, Edit, NoneOf, TopK, Where

RANK = "rank-0123456789abcdef"
CHAT = Where(column="source", values=("chat",))


def top(k: int, *parts: object) -> Edit:
    recipe = TopK(rank=RANK, k=k)
    return Edit(action="flip", recipe=AllOf(parts=(recipe, *parts)) if parts else recipe)


def test_every_top_k_is_scaled_wherever_it_stands():
    edits = scaled([top(40, NoneOf(parts=(CHAT,))), top(8)], 0.25)
    assert edits[0].recipe.parts[0].k == 10
    assert edits[0].recipe.parts[1] == NoneOf(parts=(CHAT,))
    assert edits[1].recipe.k == 2


def test_a_ladder_rises_and_holds_no_size_twice():
    assert [total_k(step) for step in ladder([top(4)], (2, 0.25, 0.2, 1))] == [1, 4, 8]


def test_an_edit_without_a_top_k_has_no_sizes():
    with pytest.raises(UserError, match="top k"):
        ladder([Edit(action="remove", recipe=CHAT)])


def test_sizes_of_one_edit_have_one_shape_and_others_have_not():
    assert shape([top(40)]) == shape([top(10)])
    assert shape([top(40)]) != shape([top(40, CHAT)])


def test_sizes_of_one_edit_are_found_among_others():
    edits = {"a": [top(40)], "b": [top(10)], "c": [top(40, CHAT)]}
    assert siblings(edits, "a") == {"a": 40, "b": 10}
