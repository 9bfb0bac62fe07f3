"""Pairs that one edit flips and another one removes, edit by edit, and ways out.

`apply` refuses such a plan; here is what is needed to fix it: which two edits meet, in how many
pairs, and an edit that leaves those pairs to the other one.

What two edits have in common, pair by pair.

Edits are compared by what they do, not by how they are said: two recipes may select the same pairs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from core.intervention.edits.apply import protected
from core.intervention.edits.select import Mask, Pairs
from core.specs.recipes import AllOf, Edit, NoneOf


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


class Difference(NamedTuple):
    """How many pairs are touched alike, by one edit only, or by both in different ways."""

    alike: int
    only_first: int
    only_second: int
    otherwise: int


def compare(first: pd.DataFrame, second: pd.DataFrame) -> Difference:
    """Two tables of actions (`core.intervention.edits.plan`); kept pairs count as untouched."""
    one, two = (
        table[table["action"] != "keep"].set_index("uid")["action"] for table in (first, second)
    )
    shared = one.index.intersection(two.index)
    alike = int((one[shared] == two[shared]).sum())
    return Difference(
        alike=alike,
        only_first=len(one) - len(shared),
        only_second=len(two) - len(shared),
        otherwise=len(shared) - alike,
    )
