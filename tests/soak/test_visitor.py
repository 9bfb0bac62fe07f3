"""Which errors of a page the soak counts as problems."""

import pandas as pd
import pytest

from core.data import search
from core.errors import UserError
from core.intervention.edits.apply import TOUCHES_NONE
from tests.soak.visitor import rightful


@pytest.mark.parametrize(
    ("shown", "so"),
    [
        (f"{TOUCHES_NONE}\n", True),
        (f"{TOUCHES_NONE} Traceback (most recent call last)", False),
        ("the edit leaves no pairs to train on. Remove fewer.", False),
        ("", False),
    ],
)
def test_the_refusal_of_an_empty_edit_is_rightful_and_nothing_near_it(shown, so):
    assert rightful(shown) is so


@pytest.mark.parametrize("asked", [search.matching, search.bm25])
def test_what_a_search_says_of_nonsense_is_rightful(asked):
    with pytest.raises(UserError) as refused:
        asked(pd.Series(["a text"]), "*")
    assert rightful(str(refused.value))
    assert not rightful(f"{refused.value} KeyError: 'uid'")
