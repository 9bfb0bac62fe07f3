"""From judged completions to the rate of every behavior, with interval, n and what is unscored.

A table of completions has a row per completion and a nullable boolean column per flag. A rate is
taken over scored completions only; unscored ones are counted beside it. Knows nothing of models.
"""

from collections.abc import Iterable, Sequence
from itertools import product

import pandas as pd

from core.errors import UserError
from core.intervention.evaluation.judges import Judge
from core.specs.behaviors import Behavior
from core.stats import rate_interval

RATES = [
    *("behavior", "flag", "group", "condition", "wanted", "model"),
    *("rate", "low", "high", "n", "n_unscored", "n_prompts"),
]


def judged(completions: pd.DataFrame, judge: Judge) -> pd.DataFrame:
    """The completions with one column per flag of the judge."""
    prompts, texts = completions["prompt"].tolist(), completions["completion"].tolist()
    flags = judge.judge(prompts, texts)[list(judge.flags)].astype("boolean")
    return pd.concat([completions.reset_index(drop=True), flags.reset_index(drop=True)], axis=1)


def rates(completions: pd.DataFrame, behaviors: Iterable[Behavior]) -> pd.DataFrame:
    """One row per behavior and model: `RATES`. NaN where every completion is unscored.

    Raises `UserError` for a flag that was not judged or a group that no prompt belongs to.
    """
    models = list(dict.fromkeys(completions["model"]))
    rows = [_rate(completions, behavior, model) for behavior in behaviors for model in models]
    return pd.DataFrame(rows, columns=RATES)


def every_behavior(prompts: pd.DataFrame, flags: Sequence[str]) -> list[Behavior]:
    """Each flag on each group under each condition that the prompts have, named by the three."""
    places = prompts[["group", "condition"]].drop_duplicates().itertuples(index=False, name=None)
    return [
        Behavior(
            name=f"{flag} · {group} · {condition}", flag=flag, group=group, condition=condition
        )
        for (group, condition), flag in product(places, flags)
    ]


def _rate(completions: pd.DataFrame, behavior: Behavior, model: str) -> dict[str, object]:
    rows = _concerned(completions[completions["model"] == model], behavior)
    scored = rows[rows[behavior.flag].notna()]
    interval = rate_interval(scored[behavior.flag], scored["prompt_id"])
    return {
        "behavior": behavior.name,
        "flag": behavior.flag,
        "group": behavior.group,
        "condition": behavior.condition,
        "wanted": behavior.wanted,
        "model": model,
        "rate": interval.value,
        "low": interval.low,
        "high": interval.high,
        "n": len(scored),
        "n_unscored": len(rows) - len(scored),
        "n_prompts": interval.n,
    }


def _concerned(completions: pd.DataFrame, behavior: Behavior) -> pd.DataFrame:
    """The completions that a behavior is measured on."""
    if behavior.flag not in completions:
        known = ", ".join(map(str, completions.select_dtypes("boolean")))
        raise UserError(
            f"behavior {behavior.name!r}: flag {behavior.flag!r} was not judged. Judged: {known}."
        )
    group = completions["group"] == behavior.group
    rows = completions[group & (completions["condition"] == behavior.condition)]
    if rows.empty:
        known = ", ".join(sorted(completions["group"].unique()))
        raise UserError(
            f"behavior {behavior.name!r}: no prompt of group {behavior.group!r} under the "
            f"condition {behavior.condition!r}. The prompts have the groups {known}."
        )
    return rows
