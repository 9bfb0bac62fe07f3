"""What two edits have in common, pair by pair.

Edits are compared by what they do, not by how they are said: two recipes may select the same pairs.
"""

from typing import NamedTuple

import pandas as pd


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
