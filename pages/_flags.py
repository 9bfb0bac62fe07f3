"""What the judge's flags are called where people read them.

A flag, such as `followed_format`, is a name for programs. Read on one group of prompts under one
condition it is a behavior, which has a name where the project gives it one.
"""

from collections.abc import Iterable

import pandas as pd

from core.data.behaviors import Behavior


def words(flag: str) -> str:
    """The flag alone, such as `followed format`."""
    return flag.replace("_", " ")


def called(cells: pd.DataFrame, behaviors: Iterable[Behavior]) -> pd.Series:
    """Each row's `flag, group, condition` by the project's name for it, else by what it is."""
    known = {(one.flag, one.group, one.condition): one.name for one in behaviors}
    rows = zip(cells["flag"], cells["group"], cells["condition"], strict=True)
    names = [known.get(row, f"{words(row[0])} · {row[1]}, {row[2]}") for row in rows]
    return pd.Series(names, index=cells.index, dtype=str)


def said(row: pd.Series, flag: str) -> str:
    """What the judge said of one completion."""
    value = row[flag]
    return "unscored" if pd.isna(value) else words(flag) if value else f"not {words(flag)}"
