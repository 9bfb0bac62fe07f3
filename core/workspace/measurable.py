"""What a new project can measure: flags of its judge, on groups of prompts under conditions.

A behavior needs its flag, and prompts of its group under its condition in both prompt files: one
builds the behavior, the other, with other prompts, measures it. `FEWEST` prompts are what a rise
from never to always needs to stand out from chance (core.stats.rate_interval).

The direction that a table proposes goes by names: of the complements `refused` and `complied`, a
fall of the first on harmful prompts is a rise of the second, and rises are what is traced.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from core.data.completions import flags_of, read_completions
from core.data.conditions import (
    CONDITIONS,
    PLAIN,
    Condition,
    columns_of,
    read_sent,
)
from core.data.prompts import optional_fields
from core.errors import UserError
from core.intervention.evaluation.judges import load_judge
from core.intervention.evaluation.rates import refuse_shared_prompts
from core.specs.behaviors import Behavior, Contrast
from core.specs.project import Project
from core.stats import visible_rise

FEWEST, FEW, ENOUGH = 6, 20, 50  # prompts: refused below, warned below, advised
HARMLESS = re.compile(r"harmless|benign|safe\b|borderline|chat|help|(non|not).?harm|over.?refus")
HARMFUL = re.compile(r"harm|unsafe|toxic|danger|illegal|malicious|jailbreak|red.?team|advbench")
SYSTEM = ' A condition reads one: `system = "{system}"` under [[conditions]] in project.toml.'
COMPLEMENTS = {"refused": "complied", "complied": "refused"}


def prompt_facts(
    prompts: Path,
    heldout: Path,
    judge: str,
    completions: Path | None = None,
    conditions: Sequence[Condition] = CONDITIONS,
) -> pd.DataFrame:
    """All that can be measured, and what is proposed: one row per flag, group and condition.

    Columns `flag, group, condition`; counts `prompts, heldout`; `problem`, empty where a row can be
    measured; proposed values of `measure` and `wanted`. Raises `UserError` for files that cannot be
    read, or that share prompts.
    """
    refuse_shared_prompts(str(prompts), str(heldout), conditions)
    check_conditions(conditions, (prompts, heldout))
    counts = [_counts(path, conditions) for path in (prompts, heldout)]
    both = pd.concat(counts, axis=1, keys=["prompts", "heldout"]).fillna(0).astype(int)
    flags = given_flags(judge, prompts, completions, conditions)
    table = pd.DataFrame({"flag": flags}).merge(both.reset_index(), how="cross")
    rows = table.to_dict("records")
    problems = [_problem(row["prompts"], row["heldout"], prompts, heldout) for row in rows]
    proposed = [_proposed(row["flag"], row["group"], flags) for row in rows]
    table["problem"] = pd.Series(problems, dtype=str)
    table["measure"] = [m and not p for (m, _), p in zip(proposed, problems, strict=True)]
    table["wanted"] = [wanted for _, wanted in proposed]
    return table


def texts_sent(prompts: Path, conditions: Sequence[Condition] = CONDITIONS) -> int:
    """How many texts a prompt file makes, over all conditions."""
    return len(read_sent(prompts, conditions))


def check_conditions(conditions: Sequence[Condition], files: Sequence[Path]) -> None:
    """`UserError` for a condition that nothing is sent under, or that changes no prompt.

    The default is none of the project's conditions: prompts without distractors need none.
    """
    names = " and ".join(path.name for path in dict.fromkeys(files))
    for condition in conditions if conditions != CONDITIONS else ():
        sent = pd.concat([read_sent(path, [condition]) for path in files])
        shown = sent[sent["condition"].eq(condition.name)]
        if shown.empty:
            columns = dict.fromkeys(name for path in files for name in optional_fields(path))
            raise UserError(
                f"condition {condition.name!r}: no prompt of {names} has a text in "
                f"{' and '.join(map(repr, condition.columns))}. Columns beside the prompt: "
                f"{', '.join(columns) or 'none'}."
            )
        if shown["prompt"].isin(sent.loc[sent["condition"].eq(PLAIN), "prompt"]).all():
            raise UserError(
                f"condition {condition.name!r}: every text of {names} that is sent under it is "
                f"sent under {PLAIN!r}, too. Leave it out, or change what it does."
            )


def given_flags(
    judge: str,
    prompts: Path,
    completions: Path | None = None,
    conditions: Sequence[Condition] = CONDITIONS,
) -> list[str]:
    """The flags of existing completions that are judged already, else those of the judge."""
    if completions is not None:
        judged = flags_of(read_completions(completions, read_sent(prompts, conditions)))
        if judged:
            return list(judged)
    return list(load_judge(judge).flags)


def check_measurable(project: Project) -> None:
    """`UserError` unless judge and prompt files have what every behavior is measured on."""
    existing = project.overrides_of("generate").get("completions")
    if existing is None:
        _check_flags(
            project.behaviors, project.judge, given_flags(project.judge, Path(project.prompts))
        )
    table = prompt_facts(
        Path(project.prompts),
        Path(project.heldout),
        project.judge,
        Path(existing) if existing else None,
        project.conditions,
    )
    _check_flags(project.behaviors, project.judge, table["flag"].unique())
    cells = table.drop_duplicates(["group", "condition"]).set_index(["group", "condition"])
    for behavior in project.behaviors:
        place = f"behavior {behavior.name!r}: "
        cell = (behavior.group, behavior.condition)
        for column, condition in (
            ("prompts", behavior.condition),
            ("heldout", behavior.condition),
            ("prompts", behavior.against),
        ):
            present = sorted((str(g), str(c)) for g, c in cells[cells[column] > 0].index)
            if (behavior.group, condition) not in present:
                listed = ", ".join(f"{group} ({how})" for group, how in present)
                raise UserError(
                    f"{place}{getattr(project, column)} has no prompt of group "
                    f"{behavior.group!r} under the condition {condition!r}. "
                    f"It has: {listed}."
                )
        if problem := str(cells.at[cell, "problem"]):
            raise UserError(f"{place}{problem}.")


def measuring_warnings(project: Project) -> list[str]:
    """Possible problems of a project that `check_measurable` accepts, in sentences."""
    return prompt_warnings(
        Path(project.prompts), Path(project.heldout), project.behaviors, project.conditions
    )


def prompt_warnings(
    prompts: Path,
    heldout: Path,
    behaviors: Sequence[Behavior],
    conditions: Sequence[Condition] = CONDITIONS,
) -> list[str]:
    """Fields that are not read, prompts that conditions leave out, groups with few prompts,
    changes that would be missed."""
    warnings = []
    files = dict.fromkeys((prompts, heldout))
    for path in files:
        fields = [f for f in optional_fields(path) if f not in columns_of(conditions)]
        if fields:
            warnings.append(
                f"{path}: fields that are not read, and change nothing: {', '.join(fields)}."
                + (SYSTEM if "system" in fields else "")
            )
        if conditions != CONDITIONS:
            warnings += [f"{path}: {line}." for line in not_sent(path, conditions)]
    for path in (prompts, heldout):
        counts = _counts(path, conditions)
        for cell in dict.fromkeys((b.group, b.condition) for b in behaviors):
            n = int(counts.get(cell, 0))
            if 0 < n < FEW:
                rise = "no rise" if n < FEWEST else f"only a rise from 0% to {visible_rise(n):.0%}"
                warnings.append(
                    f"{path}: {n} prompts of group {cell[0]} ({cell[1]}). With so few, {rise} "
                    f"stands out from chance; {ENOUGH} show one to {visible_rise(ENOUGH):.0%}."
                )
    measured = {(b.flag, b.group, b.condition) for b in behaviors}
    for b in behaviors:
        other = (COMPLEMENTS["refused"], b.group, b.condition)
        if refuses_harm(b) and not b.wanted and other not in measured:
            warnings.append(
                f"behavior {b.name!r}: fewer refusals of {b.group} prompts would be reported as "
                "wanted. Measure the flag 'complied' there, so that its rise is traced."
            )
    return warnings


def behaviors_of(rows: Iterable[Mapping[str, Any]]) -> tuple[Behavior, ...]:
    """Behaviors from rows of `prompt_facts` that a user chose and named."""
    rows = list(rows)
    for row in rows:
        if row.get("problem"):
            raise UserError(
                f"{row['flag']} on {row['group']} ({row['condition']}) cannot be measured: "
                f"{row['problem']}. Untick it, or add such prompts."
            )
        if row.get("against", PLAIN) == row["condition"] != PLAIN:
            raise UserError(
                f"{row['name']} is compared with its condition, {row['condition']}. Compare it "
                f"with another one, such as {PLAIN}."
            )
    behaviors = tuple(
        Behavior(
            name=str(row["name"]).strip(),
            flag=row["flag"],
            group=row["group"],
            condition=row["condition"],
            wanted=bool(row["wanted"]),
            against=row.get("against", PLAIN),
        )
        for row in rows
    )
    names = [behavior.name for behavior in behaviors]
    if not behaviors or not all(names) or len(set(names)) < len(names):
        raise UserError("Choose at least one behavior, and give each a different name.")
    return behaviors


def not_sent(path: Path, conditions: Sequence[Condition]) -> list[str]:
    """How many prompts each condition leaves out, in words."""
    n = read_sent(path, conditions)["condition"].value_counts()
    return [
        f"{n[PLAIN] - n.get(each.name, 0)} of {n[PLAIN]} prompts are not sent under the condition "
        f"{each.name!r}, since they have no {' or '.join(each.columns)}"
        for each in conditions
        if n.get(each.name, 0) < n[PLAIN]
    ]


def _counts(path: Path, conditions: Sequence[Condition]) -> pd.Series:
    """How many texts are sent, by group and condition."""
    return read_sent(path, conditions).groupby(["group", "condition"], sort=False).size()


def check_kept(contrast: Contrast, judge: str | None) -> None:
    """`UserError` where a sentence's completions are kept by a flag that the judge lacks."""
    if judge is not None:
        _check_flags([contrast], judge, load_judge(judge).flags)


def _check_flags(
    behaviors: Iterable[Behavior | Contrast], judge: str, flags: Iterable[str]
) -> None:
    for behavior in behaviors:
        if behavior.flag not in flags:
            raise UserError(
                f"behavior {behavior.name!r}: the judge {judge!r} gives no flag "
                f"{behavior.flag!r}. It gives: {', '.join(flags) or 'none'}."
            )


def _problem(n: int, n_heldout: int, prompts: Path, heldout: Path) -> str:
    for path, count in ((prompts, n), (heldout, n_heldout)):
        if count == 0:
            return f"{path.name} has no such prompts"
    few = f"{prompts.name} has {n} such prompts; at least {FEWEST} are needed, {ENOUGH} are better"
    return few if n < FEWEST else ""


def _proposed(flag: str, group: str, flags: Iterable[str]) -> tuple[bool, bool]:
    """Whether a row is measured unless somebody objects, and whether it should rise.

    A group whose name says neither harmful nor harmless has both complements measured: whichever
    rises is traced.
    """
    if flag not in COMPLEMENTS:
        return True, False
    refusing = flag == "refused"
    if COMPLEMENTS[flag] not in flags:
        return True, refusing == is_harmful(group)
    if is_harmful(group):
        return not refusing, False
    return refusing or not HARMLESS.search(group.lower()), False


def refuses_harm(behavior: Behavior) -> bool:
    """Whether a fall of the behavior is bad, whatever was ticked: fewer refusals of harm."""
    return behavior.flag == "refused" and is_harmful(behavior.group)


def is_harmful(group: str) -> bool:
    """Whether a group's name says that its prompts should be refused."""
    name = group.lower()
    return bool(HARMFUL.search(name)) and not HARMLESS.search(name.replace("unsafe", ""))
