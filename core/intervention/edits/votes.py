"""A judge's votes on pairs: which completion has the flags of the better one.

Each flag is one vote: for the completion that shows it (or, for `not FLAG`, lacks it) where the
other does not. Where both or neither do, or the judge leaves one unscored, the flag gives no vote.
A pair is flipped only where more than the stated majority of its votes is for rejected; everything
else stays as it is and is counted (relabelling by several judges: arXiv 2509.23564).
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from core.errors import UserError
from core.intervention.evaluation.judges import Judge
from core.specs.behaviors import Behavior
from core.specs.recipes import Relabel

Vote = Literal["flipped", "confirmed", "tied", "unscored"]
VOTES: tuple[Vote, ...] = ("flipped", "confirmed", "tied", "unscored")
WITHOUT = "not "  # before a flag that the better completion lacks


def preferences(behaviors: Iterable[Behavior]) -> tuple[str, ...]:
    """Flags to vote by: those of wanted behaviors, and `not` those of unwanted ones.

    A flag that is wanted on some prompts and unwanted on others is left out, unless there is no
    other: then it counts as unwanted.
    """
    wanted: dict[str, set[bool]] = {}
    for behavior in behaviors:
        wanted.setdefault(behavior.flag, set()).add(behavior.wanted)
    clear = {flag: all(values) for flag, values in wanted.items() if len(values) == 1}
    clear = clear or dict.fromkeys(wanted, False)
    return tuple(flag if good else WITHOUT + flag for flag, good in clear.items())


def relabel_by(behaviors: Sequence[Behavior], about: Collection[str]) -> Relabel | None:
    """The votes for pairs that teach the behaviors of some names; None where nothing has a flag."""
    named = preferences(behavior for behavior in behaviors if behavior.name in about)
    prefer = named or preferences(behaviors)
    return Relabel(prefer=prefer) if prefer else None


def votes(relabel: Relabel, pairs: pd.DataFrame, judge: Judge) -> pd.DataFrame:
    """`vote, why` of each of the pairs (`prompt, chosen, rejected`), in their order.

    `flipped`: more than the majority of votes is for rejected; `confirmed`: for chosen; `tied`:
    neither; `unscored`: no votes, and a flag without an answer.
    """
    names = [name.removeprefix(WITHOUT) for name in relabel.prefer]
    if unknown := [name for name in names if name not in judge.flags]:
        flags = ", ".join(judge.flags) or "none"
        raise UserError(f"relabel: the judge has no flag {unknown[0]!r}. It has: {flags}.")
    prompts = pairs["prompt"].tolist()
    chosen, rejected = (judge.judge(prompts, pairs[s].tolist()) for s in ("chosen", "rejected"))
    sign = np.array([-1 if name.startswith(WITHOUT) else 1 for name in relabel.prefer])
    a, b = (t[names].astype("Float64").to_numpy(float, na_value=np.nan) for t in (chosen, rejected))
    difference = (b - a) * sign  # (pair, vote): 1 for rejected, −1 for chosen, NaN unscored
    cast = (difference != 0) & ~np.isnan(difference)
    n, n_rejected = cast.sum(axis=1), (difference == 1).sum(axis=1)
    share = n_rejected / np.maximum(n, 1)
    unscored = (n == 0) & np.isnan(difference).any(axis=1)
    confirmed = (n > 0) & (1 - share > relabel.majority)
    result = np.select(
        [unscored, share > relabel.majority, confirmed],
        ["unscored", "flipped", "confirmed"],
        "tied",
    )
    why = [f"{k} of {m} votes for rejected" for k, m in zip(n_rejected, n, strict=True)]
    return pd.DataFrame({"vote": result, "why": why}, index=pairs.index)
