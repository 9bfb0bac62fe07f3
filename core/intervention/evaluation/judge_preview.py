"""Preview of judges on completions at hand, before anything is generated or paid for.

Completions come from a run, from a data file with `completion`, and, where there are, `prompt_id,
prompt, model, group, condition, rollout`, or are the two texts of preference pairs. Hand labels
come from a data file with one yes/no column per flag and columns that name the completion: its
text, or its `prompt_id` and what else tells it from the others of that prompt. Agreement is that of
`spot_check`: kappa, resampled by prompt. Flags that the completions were judged by before are not
read.
"""

import tomllib
from collections.abc import Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from core.data.completions import YES_NO
from core.data.readers import read_records
from core.data.schema import text_problem
from core.data.trl_formats import absent
from core.errors import UserError
from core.intervention.evaluation.judges import Judge
from core.intervention.evaluation.model_judges import ClassifierJudge, EndpointJudge
from core.intervention.evaluation.python_judge import PythonJudge
from core.intervention.evaluation.rates import judged
from core.intervention.evaluation.spot_check import Raters, compare, in_words
from core.intervention.evaluation.text_judge import ready_sets
from core.runs.store import Store
from core.specs.steps import is_run
from core.stats import rate_interval
from core.storage.parse import toml_file
from core.storage.tables import table as read_table

CELL = ["model", "group", "condition"]
COLUMNS = ["prompt_id", "prompt", *CELL, "rollout", "completion"]
KEYS = ["prompt_id", "model", "condition", "rollout", "completion"]
JUDGING = ("generate", "evaluate")
DEFAULTS = {"prompt": "", "model": "", "group": "", "condition": "plain", "rollout": 0}


class Preview(NamedTuple):
    """What several judges say of the same completions; every table has a row per flag or more."""

    flags: pd.DataFrame  # judge, flag, yes, no, unscored
    texts: pd.DataFrame  # judge, flag, shown, completion: the first of each answer
    rates: pd.DataFrame  # judge, flag, model, group, condition, rate, low, high, n, n_unscored
    disagreement: pd.DataFrame  # first, second, only_first, only_second, agreement, kappa, example
    labels: pd.DataFrame  # judge, flag, n, agreement, kappa, low, high, only_judge, only_person


def preview(
    judges: Mapping[str, Judge],
    completions: pd.DataFrame,
    labels: pd.DataFrame | None = None,
    *,
    examples: int = 3,
) -> Preview:
    """What each judge, by name, says of `completions` (`COLUMNS`), and how far they agree."""
    tables = {name: judged(completions[COLUMNS], judge) for name, judge in judges.items()}
    flags = [(name, flag) for name, judge in judges.items() for flag in judge.flags]
    answers = {(name, flag): tables[name][flag] for name, flag in flags}
    texts = completions["completion"].reset_index(drop=True)
    rows = []
    for (name, flag), shown in answers.items():
        for answer in (True, False):
            first = texts[shown.eq(answer).fillna(False)].head(examples)
            rows += [(name, flag, answer, text) for text in first]
    return Preview(
        flags=pd.DataFrame(
            [
                (*key, int(shown.sum()), int((~shown).sum()), int(shown.isna().sum()))
                for key, shown in answers.items()
            ],
            columns=["judge", "flag", "yes", "no", "unscored"],
        ),
        texts=pd.DataFrame(rows, columns=["judge", "flag", "shown", "completion"]),
        rates=_rates(tables, flags),
        disagreement=_disagreement(answers, completions),
        labels=_agreement(answers, completions, labels),
    )


def read_judged_texts(source: str, store: Store) -> pd.DataFrame:
    """`COLUMNS` of a generate or evaluate run, or of a data file of any format."""
    if is_run(source):
        if source.partition("-")[0] not in JUDGING:
            raise UserError(f"{source}: has no completions; {' and '.join(JUDGING)} runs have.")
        return read_table(store.output(source) / "completions.parquet", COLUMNS)
    path = Path(source)
    rows = []
    for line in read_records(path):
        text = line.value.get("completion")
        problem = line.reason or (
            text_problem(text) if isinstance(text, str) else "field 'completion' is no text"
        )
        if problem:
            raise UserError(f"{path}: row {line.row}: {problem}.")
        cells = {name: value for name, value in line.value.items() if not absent(value)}
        prompt = str(cells.get("prompt", line.row))
        rows.append(DEFAULTS | {"prompt_id": prompt} | {n: cells[n] for n in COLUMNS if n in cells})
    if not rows:
        raise UserError(f"{path}: contains no completions.")
    return pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(COLUMNS[:-2], str))


def texts_of_pairs(pairs: pd.DataFrame) -> pd.DataFrame:
    """`COLUMNS` of preference pairs: `chosen` and `rejected` stand for the model."""
    sides = [
        pairs[["prompt", side]].set_axis(["prompt", "completion"], axis=1).assign(model=side)
        for side in ("chosen", "rejected")
    ]
    texts = pd.concat(sides)
    texts = texts.assign(prompt_id=texts.index.map(str), group="", condition="plain", rollout=0)
    return texts[COLUMNS].reset_index(drop=True)


def labels_within(path: Path, flags: Sequence[str]) -> pd.DataFrame | None:
    """Labels that a file of completions has itself: its columns that are named like `flags`.

    One nullable boolean column each, a row per completion; None without such a column.
    """
    rows = [line.value for line in read_records(path)]
    labelled = [flag for flag in flags if any(flag in row for row in rows)]
    answers = {
        flag: [_yes_no(path, i, flag, row.get(flag)) for i, row in enumerate(rows, 1)]
        for flag in labelled
    }
    return pd.DataFrame(answers).astype("boolean") if labelled else None


def is_instant(judge: Judge) -> bool:
    """Whether a judge only reads texts: asks no model, and runs nobody's code."""
    parts = getattr(judge, "judges", [judge])
    return not any(isinstance(p, EndpointJudge | ClassifierJudge | PythonJudge) for p in parts)


def ready_flags() -> dict[str, str]:
    """The flag of each ready set of expressions, by the set's name."""
    names = {name: name.replace(" ", "_").replace("-", "_") for name in ready_sets()}
    return names | {"refusal": "refused"}


def ready_judge(sets: Sequence[str]) -> str:
    """A judge file (TOML) of ready sets, one flag each; with `complied` beside `refused`."""
    flags = ready_flags()
    tables = [f'[patterns.{flags[name]}]\nset = "{name}"\n' for name in sets]
    if "refusal" in sets:
        tables.append('[combined]\ncomplied = "not refused"\n')
    return "\n".join(tables)


def ready_sets_of(judge: str) -> list[str] | None:
    """The sets of a judge that is made of ready ones alone; None for any other."""
    if judge == "refusal":
        return ["refusal"]
    path = Path(judge)
    content = toml_file(path) if path.suffix == ".toml" and path.is_file() else {}
    tables = content.get("patterns")
    if not isinstance(tables, dict) or not all(isinstance(t, dict) for t in tables.values()):
        return None
    sets = [str(table.get("set")) for table in tables.values()]
    is_ready = set(sets) <= set(ready_sets()) and tomllib.loads(ready_judge(sets)) == content
    return sets if is_ready else None


def read_labels(path: Path, completions: pd.DataFrame) -> pd.DataFrame:
    """One nullable boolean column per flag, aligned with `completions`; NA where no label is.

    `UserError` for a row that names no completion, or two with different labels.
    """
    lines = list(read_records(path))
    if bad := next((line for line in lines if line.reason), None):
        raise UserError(f"{path}: row {bad.row}: {bad.reason}.")
    if not lines:
        raise UserError(f"{path}: contains no labels.")
    columns = list(dict.fromkeys(name for line in lines for name in line.value))
    keys = [name for name in KEYS if name in columns]
    if not {"completion", "prompt_id"} & set(keys):
        raise UserError(f"{path}: needs the column completion, or prompt_id, beside the flags.")
    places: dict[Any, list[int]] = {}
    for place, row in enumerate(completions[keys].itertuples(index=False)):
        places.setdefault(_key(row), []).append(place)
    flags = [name for name in columns if name not in COLUMNS]
    answers: dict[str, list[Any]] = {flag: [pd.NA] * len(completions) for flag in flags}
    seen: dict[Any, int] = {}
    for line in lines:
        key = _key(line.value.get(name) for name in keys)
        if key in seen:
            raise UserError(f"{path}: rows {seen[key]} and {line.row} name the same completion.")
        seen[key] = line.row
        if key not in places:
            raise UserError(
                f"{path}: row {line.row}: no completion has this {', '.join(keys)}. Copy these "
                "columns from the completions."
            )
        for flag in flags:
            answer = _yes_no(path, line.row, flag, line.value.get(flag))
            for place in places[key]:
                answers[flag][place] = answer
    return pd.DataFrame(answers, index=completions.index).astype("boolean")


def _key(cells: Any) -> tuple[str, ...]:
    return tuple(str(cell).strip() for cell in cells)


def _yes_no(path: Path, row: int, flag: str, value: Any) -> Any:
    if absent(value) or value == "":
        return pd.NA
    answer = YES_NO.get(str(value).strip().lower())
    if answer is None:
        raise UserError(f"{path}: row {row}, field {flag!r}: {value!r} is neither yes nor no.")
    return answer


def _rates(tables: Mapping[str, pd.DataFrame], flags: list[tuple[str, str]]) -> pd.DataFrame:
    rows = []
    for name, flag in flags:
        for cell, part in tables[name].groupby(CELL, sort=False):
            scored = part[part[flag].notna()]
            rate = rate_interval(scored[flag], scored["prompt_id"])
            counts = (len(scored), len(part) - len(scored))
            rows.append((name, flag, *cell, rate.value, rate.low, rate.high, *counts))
    columns = ["judge", "flag", *CELL, "rate", "low", "high", "n", "n_unscored"]
    return pd.DataFrame(rows, columns=columns)


def _disagreement(
    answers: Mapping[tuple[str, str], pd.Series], completions: pd.DataFrame
) -> pd.DataFrame:
    """Flags of one name from two judges; where two share no name, each flag with each."""
    judges = list(dict.fromkeys(name for name, _ in answers))
    rows = []
    for left, right in combinations(judges, 2):
        ours, theirs = ([f for name, f in answers if name == judge] for judge in (left, right))
        shared = [(flag, flag) for flag in ours if flag in theirs]
        for first, second in shared or product(ours, theirs):
            a, b = answers[left, first], answers[right, second]
            raters = compare(a, b, completions["prompt_id"])
            differ = completions["completion"].array[(a != b).fillna(False).to_numpy(bool)]
            rows.append(
                {
                    "first": f"{left}: {first}",
                    "second": f"{right}: {second}",
                    "only_first": raters.only_first,
                    "only_second": raters.only_second,
                    **_kappa(raters),
                    "example": differ[0] if len(differ) else "",
                }
            )
    return pd.DataFrame(rows)


def _agreement(
    answers: Mapping[tuple[str, str], pd.Series],
    completions: pd.DataFrame,
    labels: pd.DataFrame | None,
) -> pd.DataFrame:
    """Each flag that has hand labels, compared with them."""
    if labels is None:
        return pd.DataFrame()
    if unknown := sorted(set(map(str, labels)) - {flag for _, flag in answers}):
        flags = ", ".join(dict.fromkeys(flag for _, flag in answers))
        raise UserError(f"labels: no judge gives the flag {unknown[0]!r}. Flags: {flags}.")
    rows = []
    for (name, flag), shown in answers.items():
        if flag in labels:
            raters = compare(shown, labels[flag], completions["prompt_id"])
            errors = {"only_judge": raters.only_first, "only_person": raters.only_second}
            rows.append({"judge": name, "flag": flag, **_kappa(raters), **errors})
    return pd.DataFrame(rows)


def _kappa(raters: Raters) -> dict[str, Any]:
    return {
        "n": raters.both + raters.neither + raters.only_first + raters.only_second,
        "agreement": raters.agreement,
        "kappa": raters.kappa.value,
        "low": raters.kappa.low,
        "high": raters.kappa.high,
        "reading": in_words(raters),
    }
