"""Checks of an edit before training: conflicts, overlap with another edit, covariate shift.

Edits are compared by what they do to each pair: two recipes may select the same pairs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from core.intervention.edits.apply import protected
from core.intervention.edits.select import Floats, Mask, Pairs
from core.specs.recipes import AllOf, Edit, NoneOf

NOTABLE = 0.5  # standard deviations of covariate shift


class Conflict(NamedTuple):
    """A flip and a removal, by their place in the list, that select the same pairs."""

    flips: int
    removes: int
    n: int
    example: str  # a pair's uid


class Overlap(NamedTuple):
    """Numbers of pairs that two edits touch."""

    same: int  # with the same action
    only_first: int
    only_second: int
    different: int  # with different actions


def conflicts(edits: Sequence[Edit], masks: Sequence[Mask], pairs: Pairs) -> list[Conflict]:
    """Every flip and removal that meet, leaving out pairs that another edit keeps.

    `masks`: the pairs that each edit's recipe selects, (pair,) each. `apply.plan` refuses them.
    """
    free = ~protected(edits, masks, len(pairs))
    meetings = []
    for i, flips in enumerate(edits):
        for j, removes in enumerate(edits):
            if (flips.action, removes.action) == ("flip", "remove"):
                both = masks[i] & masks[j] & free
                if both.any():
                    example = str(pairs["uid"][both].iloc[0])
                    meetings.append(Conflict(i, j, int(both.sum()), example))
    return meetings


def without(edit: Edit, other: Edit) -> Edit:
    """The edit without the pairs of another one: a way out of a conflict."""
    recipe = AllOf(parts=(edit.recipe, NoneOf(parts=(other.recipe,))))
    return edit.model_copy(update={"recipe": recipe})


def overlap(first: pd.DataFrame, second: pd.DataFrame) -> Overlap:
    """Of two tables of actions, as `apply.plan` gives them; kept pairs count as untouched."""
    a, b = (
        table[table["action"] != "keep"].set_index("uid")["action"] for table in (first, second)
    )
    shared = a.index.intersection(b.index)
    same = int((a[shared] == b[shared]).sum())
    return Overlap(same, len(a) - len(shared), len(b) - len(shared), len(shared) - same)


def covariate_shift(lengths: pd.DataFrame, touched: Mask, norms: Floats | None) -> pd.DataFrame:
    """`what, touched, rest, difference`: means of lengths in characters, and of vector norms.

    `difference` is in standard deviations of all pairs. Where it is large, retraining may change
    what it does because of lengths or norms rather than because of what the pairs say. `lengths`
    has `prompt, chosen, rejected`; `touched` and `norms` are (pair,), norms NaN where undefined
    and None where nothing is ranked. NaN where touched or rest are empty.
    """
    measures = {f"{name}, characters": lengths[name] for name in lengths}
    measures["chosen minus rejected, characters"] = lengths["chosen"] - lengths["rejected"]
    if norms is not None:
        measures["norm of the datapoint vector"] = pd.Series(norms)
    rows = []
    for name, values in measures.items():
        mean, rest, spread = values[touched].mean(), values[~touched].mean(), values.std()
        rows.append((name, mean, rest, (mean - rest) / spread if spread else float("nan")))
    return pd.DataFrame(rows, columns=["what", "touched", "rest", "difference"])
