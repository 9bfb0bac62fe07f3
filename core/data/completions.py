"""Completions from a file, in place of generated ones.

A row has `prompt_id, model` (`reference` or `policy`) and `completion`; `condition` (`plain` where
it is empty), and one yes/no column per flag that was judged already. Empty flags are
unscored, never no. Knows nothing of who wrote or judged them.
"""

import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from core.data.readers import read_records
from core.data.schema import text_problem
from core.data.trl_formats import absent
from core.errors import UserError

MODELS = ("reference", "policy")
COLUMNS = {"prompt_id", "model", "condition", "completion", "rollout", "n_tokens", "finished"}
YES = ("true", "yes", "1", "1.0")  # 1.0 is how a column of 1, 0 and nothing is often saved
NO = ("false", "no", "0", "0.0")
YES_NO = dict.fromkeys(YES, True) | dict.fromkeys(NO, False)
SIMPLE = (str, bool, int, float)
MAX_TOKENS = 1 << 31
DIGITS = re.compile(r"[0-9]{1,10}")
KEPT = ["group", "topic", "prompt"]


def read_completions(path: Path, sent: pd.DataFrame) -> pd.DataFrame:
    """The table that generating would have made, with the flags in the file.

    `sent` is what is sent (core.data.conditions.expand). Raises `UserError` for a row that belongs
    to no prompt, and where a model has no completion at all.
    """
    places = sent.set_index(["prompt_id", "condition"])[KEPT].to_dict("index")
    conditions = ", ".join(sent["condition"].unique())
    rows = list(_rows(path, places, conditions))
    for model in MODELS:
        if not any(row["model"] == model for row in rows):
            raise UserError(f"{path}: contains no completion of the {model}. Both are compared.")
    table = pd.DataFrame(rows)
    table["rollout"] = table.groupby(["model", "prompt_id", "condition"]).cumcount()
    for flag in table.columns.difference([*COLUMNS, *KEPT]):
        table[flag] = table[flag].astype("boolean")
    return table


def _rows(
    path: Path, places: Mapping[Any, Mapping[Any, Any]], conditions: str
) -> Iterator[dict[str, Any]]:
    for row, record, reason in read_records(path):
        if reason:
            raise UserError(f"{path}: row {row}: {reason}.")
        cells = {"condition": "plain"} | {k: v for k, v in record.items() if not absent(v)}
        place = (str(cells.get("prompt_id")), str(cells["condition"]))
        if place not in places:
            prompt, condition = map(reprlib.repr, place)
            raise UserError(
                f"{path}: row {row}: no prompt {prompt} is sent under {condition}. Check prompt_id "
                f"and condition against the prompts, which are sent under: {conditions}."
            )
        if cells.get("model") not in MODELS:
            model = reprlib.repr(cells.get("model"))
            raise UserError(
                f"{path}: row {row}, field 'model' is {model}, not one of {', '.join(MODELS)}."
            )
        text = cells.get("completion", "")
        problem = text_problem(text) if isinstance(text, str) else "not text"
        if problem:
            raise UserError(f"{path}: row {row}, field 'completion': {problem}.")
        yield {
            "prompt_id": place[0],
            "condition": place[1],
            **places[place],
            "model": cells["model"],
            "completion": text,
            "n_tokens": _count(path, row, cells.get("n_tokens", 0)),
            "finished": _flag(path, row, "finished", cells.get("finished")) is not False,
            **_flags(path, row, record),
        }


def _count(path: Path, row: int, value: Any) -> int:
    if isinstance(value, str) and DIGITS.fullmatch(value.strip()):  # as CSV has them
        value = int(value)
    if not (isinstance(value, int | float) and 0 <= value < MAX_TOKENS and value == int(value)):
        raise UserError(
            f"{path}: row {row}, field 'n_tokens' is {reprlib.repr(value)}, not a number of tokens."
        )
    return int(value)


def _flags(path: Path, row: int, record: Mapping[str, Any]) -> dict[str, bool | None]:
    flags = {name: value for name, value in record.items() if name not in COLUMNS | set(KEPT)}
    return {name: _flag(path, row, name, value) for name, value in flags.items()}


def _flag(path: Path, row: int, name: str, value: Any) -> bool | None:
    if absent(value) or value == "":
        return None
    flag = YES_NO.get(str(value).strip().lower()) if isinstance(value, SIMPLE) else None
    if flag is None:
        raise UserError(
            f"{path}: row {row}, field {name!r} is {reprlib.repr(value)}, neither yes nor no. "
            "Leave out columns that are no judgement."
        )
    return flag


def flags_of(completions: pd.DataFrame) -> Sequence[str]:
    """The flags that a table of completions was judged on already."""
    return [str(name) for name in completions if name not in COLUMNS | set(KEPT)]
