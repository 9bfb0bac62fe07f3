"""Which errors of a page the soak counts as problems."""

import pytest

from core.intervention.edits import TOUCHES_NONE
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
def test_only_the_refusal_of_an_empty_edit_is_rightful(shown, so):
    assert rightful(shown) is so
