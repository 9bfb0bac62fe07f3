"""Behavior rates: of judged completions, with intervals, measured on held-out prompts.

A table of completions has a row per completion and a nullable boolean column per flag. A rate is
taken over scored completions only; unscored ones are counted beside it.

An edit chosen by looking at some prompts looks better on them than it is. Where a model descends
from a ranking or a map (through an edit, or a vector that steers), the prompts of the generate run
behind these are known, and none of them may be measured. Prompts that merely resemble each other
are not detected, nor those of runs that were deleted.
"""

from collections.abc import Iterable, Sequence
from itertools import product

import pandas as pd

from core.data.conditions import CONDITIONS, Condition, read_sent
from core.errors import UserError
from core.intervention.evaluation.judges import Judge
from core.runs.execute import inputs
from core.runs.store import Store
from core.specs.base import Spec
from core.specs.behaviors import Behavior
from core.specs.steps import EvaluateSpec
from core.stats import rate_interval
from core.storage.tables import table as read_table

RATES = [
    *("behavior", "flag", "group", "condition", "wanted", "model"),
    *("rate", "low", "high", "n", "n_unscored", "n_prompts"),
]


def cells_in_words(rows: pd.DataFrame) -> str:
    """The groups of prompts or completions, each with the conditions that it is sent under."""
    conditions = rows.groupby("group")["condition"].unique()
    return ", ".join(f"{group} ({', '.join(names)})" for group, names in conditions.items())


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
    cells = prompts[["group", "condition"]].drop_duplicates().itertuples(index=False, name=None)
    return [
        Behavior(
            name=f"{flag} · {group} · {condition}", flag=flag, group=group, condition=condition
        )
        for (group, condition), flag in product(cells, flags)
    ]


def refuse_leaks(spec: EvaluateSpec, prompts: pd.DataFrame, store: Store) -> None:
    """Raises `UserError` where a run behind the model built a behavior on one of the prompts."""
    for run in sorted(_generate_runs(spec, store)):
        built = read_table(store.output(run) / "completions.parquet", columns=["prompt"])
        leaked = prompts.loc[prompts["prompt"].isin(built["prompt"]), "prompt"]
        if not leaked.empty:
            raise UserError(
                f"{spec.prompts}: {len(leaked)} of its {len(prompts)} prompts also built the "
                f"behavior ({run}), such as {leaked.iloc[0]!r}. Measure on prompts of their own."
            )


def refuse_unmeasurable(
    prompts: pd.DataFrame, flags: Iterable[str], behaviors: Iterable[Behavior]
) -> None:
    """What `rates` would refuse, before anything is sampled."""
    unjudged = prompts.assign(**dict.fromkeys(flags, pd.array([pd.NA] * len(prompts), "boolean")))
    for behavior in behaviors:
        _of_behavior(unjudged, behavior)


def refuse_shared_prompts(
    prompts: str, heldout: str, conditions: Sequence[Condition] = CONDITIONS
) -> None:
    """The same refusal before anything is trained: `UserError` where two prompt files overlap."""
    built, measured = (read_sent(path, conditions)["prompt"] for path in (prompts, heldout))
    shared = measured[measured.isin(built)]
    if not shared.empty:
        raise UserError(
            f"{heldout}: {len(shared)} of its {len(measured)} prompts are also in {prompts}, such "
            f"as {shared.iloc[0]!r}. Measure on prompts that built no behavior."
        )


def _rate(completions: pd.DataFrame, behavior: Behavior, model: str) -> dict[str, object]:
    rows = _of_behavior(completions[completions["model"] == model], behavior)
    scored = rows[rows[behavior.flag].notna()]
    interval = rate_interval(scored[behavior.flag], scored["prompt_id"])
    return {
        "behavior": behavior.name,
        **behavior.model_dump(include={"flag", "group", "condition", "wanted"}),
        "model": model,
        "rate": interval.value,
        "low": interval.low,
        "high": interval.high,
        "n": len(scored),
        "n_unscored": len(rows) - len(scored),
        "n_prompts": interval.n,
    }


def _of_behavior(completions: pd.DataFrame, behavior: Behavior) -> pd.DataFrame:
    """The completions that a behavior is measured on."""
    if behavior.flag not in completions:
        flags = ", ".join(map(str, completions.select_dtypes("boolean")))
        raise UserError(
            f"behavior {behavior.name!r}: flag {behavior.flag!r} was not judged. Judged: {flags}."
        )
    group = completions["group"] == behavior.group
    rows = completions[group & (completions["condition"] == behavior.condition)]
    if rows.empty:
        raise UserError(
            f"behavior {behavior.name!r}: no prompt of group {behavior.group!r} under the "
            f"condition {behavior.condition!r}. There are: {cells_in_words(completions)}."
        )
    return rows


def _generate_runs(spec: Spec, store: Store) -> set[str]:
    """The generate and contrast runs among all runs that the spec's inputs were made from."""
    ahead, seen = inputs(spec), set[str]()
    while ahead:
        run = ahead.pop()
        if run not in seen and store.state(run) == "finished":
            seen.add(run)
            ahead += inputs(store.spec(run))
    return {run for run in seen if run.startswith(("generate-", "contrast-"))}
