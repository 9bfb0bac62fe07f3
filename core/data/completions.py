"""Completions from a file: in place of generated ones, or as examples of a behavior.

A row has `prompt_id`, `completion` and, where two models are compared, `model` (`reference` or
`policy`); `condition` (`plain` where it is empty), and one yes/no column per flag that was judged
already. Empty flags are unscored, never no. An example has `prompt`, and `shows`, a completion that
shows the behavior, `lacks`, one that does not, or both. Knows nothing of who wrote or judged them.
"""

import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from core.data.chat import as_prompt, from_messages
from core.data.readers import read_records
from core.data.schema import text_problem
from core.data.trl_formats import absent
from core.errors import UserError

MODELS = ("reference", "policy")
ONE_MODEL = ("evaluated",)
COLUMNS = {"prompt_id", "model", "condition", "completion", "rollout", "n_tokens", "finished"}
YES = ("true", "yes", "1", "1.0")  # 1.0 is how a column of 1, 0 and nothing is often saved
NO = ("false", "no", "0", "0.0")
YES_NO = dict.fromkeys(YES, True) | dict.fromkeys(NO, False)
SIMPLE = (str, bool, int, float)
MAX_TOKENS = 1 << 31
DIGITS = re.compile(r"[0-9]{1,10}")
KEPT = ["group", "topic", "prompt"]
SIDES = ("shows", "lacks")
MAX_EXAMPLES = 64 << 20  # bytes of a file of examples: a few hundred are enough


def read_completions(
    path: Path, sent: pd.DataFrame, models: tuple[str, ...] = MODELS
) -> pd.DataFrame:
    """The table that sampling from `models` would have made, with the flags in the file.

    `sent` is what is sent (core.data.conditions.expand). Raises `UserError` for a row that belongs
    to no prompt, and where a model has no completion at all.
    """
    places = sent.set_index(["prompt_id", "condition"])[KEPT].to_dict("index")
    conditions = ", ".join(sent["condition"].unique())
    rows = list(_rows(path, places, conditions, models))
    for model in models:
        if not any(row["model"] == model for row in rows):
            both = f" of the {model}. Both are compared" if len(models) > 1 else ""
            raise UserError(f"{path}: contains no completion{both}.")
    table = pd.DataFrame(rows)
    table["rollout"] = table.groupby(["model", "prompt_id", "condition"]).cumcount()
    for flag in table.columns.difference([*COLUMNS, *KEPT]):
        table[flag] = table[flag].astype("boolean")
    return table


def _rows(
    path: Path,
    places: Mapping[Any, Mapping[Any, Any]],
    conditions: str,
    models: tuple[str, ...],
) -> Iterator[dict[str, Any]]:
    for row, record, reason in read_records(path):
        if reason:
            raise UserError(f"{path}: row {row}: {reason}.")
        usual = {"condition": "plain"} | ({"model": models[0]} if len(models) == 1 else {})
        cells = usual | {k: v for k, v in record.items() if not absent(v)}
        place = (str(cells.get("prompt_id")), str(cells["condition"]))
        if place not in places:
            prompt, condition = map(reprlib.repr, place)
            raise UserError(
                f"{path}: row {row}: no prompt {prompt} is sent under {condition}. Check prompt_id "
                f"and condition against the prompts, which are sent under: {conditions}."
            )
        if cells.get("model") not in models:
            model = reprlib.repr(cells.get("model"))
            raise UserError(
                f"{path}: row {row}, field 'model' is {model}, not one of {', '.join(models)}."
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


def read_examples(path: Path) -> pd.DataFrame:
    """`row, prompt, side, completion`, one row per completion; `side` is `shows` or `lacks`.

    `UserError` for a row that is no example, and where a side has no completion.
    """
    if path.suffix.lower() not in (".jsonl", ".csv") or not path.is_file():
        raise UserError(f"{path}: not a file of examples. Give a .jsonl or .csv file.")
    if path.stat().st_size > MAX_EXAMPLES:
        most = MAX_EXAMPLES >> 20
        raise UserError(f"{path}: larger than {most} MB. A few hundred examples are enough.")
    rows = [cell for line in read_records(path) for cell in _example(path, *line)]
    table = pd.DataFrame(rows, columns=["row", "prompt", "side", "completion"])
    for side in SIDES:
        if not table["side"].eq(side).any():
            raise UserError(
                f"{path}: no row has a completion in {side!r}. A behavior is the difference "
                "between completions that show it and completions that do not."
            )
    _refuse_both(path, table)
    return table


def paired(examples: pd.DataFrame) -> pd.DataFrame:
    """Examples with a `prompt_id` that both sides share; the showing side of each comes first.

    A prompt with both sides is one. Other prompts are paired in the order of the file, showing with
    lacking; where a side has more of them, they are dealt out in turn. Every completion is in one
    pair only, so that the vectors of two prompts have no noise in common. Prompts that no prompt of
    the other side is left for are left out (`prompt_id` is null).
    """
    shows, lacks = (
        dict.fromkeys(examples.loc[examples["side"].eq(side), "prompt"]) for side in SIDES
    )
    shared = [prompt for prompt in shows if prompt in lacks]
    alone = [[p for p in a if p not in b] for a, b in ((shows, lacks), (lacks, shows))]
    n_pairs = min(map(len, alone))
    numbers = {prompt: number for number, prompt in enumerate(shared)}
    for prompts in alone if n_pairs else []:
        numbers |= {prompt: len(shared) + i % n_pairs for i, prompt in enumerate(prompts)}
    names = {prompt: f"example-{number:05}" for prompt, number in numbers.items()}
    return examples.assign(prompt_id=examples["prompt"].map(names))


def _example(
    path: Path, row: int, record: Mapping[str, Any], reason: str
) -> Iterator[tuple[int, str, str, str]]:
    """The one or two completions of a row."""
    if reason:
        raise UserError(f"{path}: row {row}: {reason}.")
    prompt = record.get("prompt")
    if isinstance(prompt, list):
        try:
            prompt = as_prompt(from_messages(prompt))
        except ValueError as error:
            raise UserError(f"{path}: row {row}, field 'prompt': {error}.") from error
    texts = {side: record.get(side) for side in SIDES}
    if all(absent(text) for text in texts.values()):
        raise UserError(f"{path}: row {row} has neither 'shows' nor 'lacks'. Give one, or both.")
    for name, text in {"prompt": prompt, **texts}.items():
        if name != "prompt" and absent(text):
            continue
        if problem := _text_problem(text):
            raise UserError(f"{path}: row {row}, field {name!r}: {problem}.")
        if name != "prompt":
            yield row, str(prompt), name, str(text)


def _text_problem(text: Any) -> str:
    if absent(text):
        return "missing"
    if not isinstance(text, str):
        return "not text"
    return text_problem(text) if text.strip() else "empty; leave the field out where there is none"


def _refuse_both(path: Path, table: pd.DataFrame) -> None:
    """`UserError` where a completion of one prompt both shows the behavior and does not."""
    sides = table.groupby(["prompt", "completion"])["side"].nunique()
    both = table.set_index(["prompt", "completion"]).loc[sides.index[sides > 1]]
    if len(both):
        raise UserError(
            f"{path}: row {both['row'].iloc[-1]}: the same completion in 'shows' and in 'lacks' "
            "of one prompt. It cannot be both: correct one of them."
        )
