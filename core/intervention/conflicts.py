"""Pairs that one edit flips and another one removes, edit by edit, and ways out.

`core.intervention.edits` refuses such a plan; here is what is needed to mend it: which two edits
meet, in how many pairs, and an edit that leaves those pairs to the other one.
"""

from collections.abc import Sequence
from typing import NamedTuple

from core.intervention.edits import protected
from core.intervention.recipes import AllOf, Edit, NoneOf
from core.intervention.selection import Mask, Pairs


class Conflict(NamedTuple):
    """Two edits, by their place in the list, that want different things of the same pairs."""

    flips: int
    removes: int
    n: int
    example: str  # a pair's uid


def conflicts(edits: Sequence[Edit], masks: Sequence[Mask], pairs: Pairs) -> list[Conflict]:
    """Every flip that meets a removal; pairs that a third edit keeps are no conflict.

    `masks` say which pairs each edit's recipe selects, (pair,) each.
    """
    free = ~protected(edits, masks, len(pairs))
    found = []
    for i, flips in enumerate(edits):
        for j, removes in enumerate(edits):
            if (flips.action, removes.action) == ("flip", "remove"):
                both = masks[i] & masks[j] & free
                if both.any():
                    example = str(pairs["uid"][both].iloc[0])
                    found.append(Conflict(i, j, int(both.sum()), example))
    return found


def leaving(edit: Edit, other: Edit) -> Edit:
    """The edit without the pairs that belong to the other one."""
    recipe = AllOf(parts=(edit.recipe, NoneOf(parts=(other.recipe,))))
    return edit.model_copy(update={"recipe": recipe})
