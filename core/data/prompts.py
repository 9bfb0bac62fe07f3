"""Prompts that may show a behavior, and the text that is sent under a condition.

A prompt has `prompt_id, group, topic, prompt, distractor`; `distractor` is null where it has none.
Files are JSONL or CSV with these columns, YAML scenarios (`base`, `distractor`) or text with one
prompt per line (core.data.scenarios). They are small and written by people, so the first bad row is
an error. Knows nothing of chat templates.
"""

import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from core.data.chat import as_prompt, conversation, from_messages
from core.data.limits import text_problem
from core.data.readers import Line, read_records
from core.data.scenarios import PLAIN, read_scenarios, read_text_lines
from core.errors import UserError

REQUIRED = ("prompt_id", "group", "topic", "prompt")
COLUMNS = [*REQUIRED, "distractor"]
READERS = {".txt": read_text_lines, ".yaml": read_scenarios, ".yml": read_scenarios}


def read_prompts(path: Path | str) -> pd.DataFrame:
    """`prompt_id, group, topic, prompt, distractor`, one row per prompt, in file order."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file. Check the path in the spec or in project.toml.")
    rows: dict[str, dict[str, Any]] = {}
    for line in _lines(path):
        record = _checked(path, line)
        if record["prompt_id"] in rows:
            raise UserError(
                f"{path}: row {line.row}, field 'prompt_id': {record['prompt_id']!r} is taken. "
                "Give every prompt its own."
            )
        rows[record["prompt_id"]] = record
    if not rows:
        raise UserError(f"{path}: holds no prompts. Each line needs {', '.join(COLUMNS)}.")
    return pd.DataFrame(rows.values(), columns=COLUMNS)


def write_prompts(prompts: pd.DataFrame, path: Path) -> None:
    """Write prompts as JSONL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    prompts[COLUMNS].to_json(path, orient="records", lines=True, force_ascii=False)


def append_distractors(prompts: pd.DataFrame, distractors: list[str]) -> pd.DataFrame:
    """Every prompt with every distractor: ids get the distractor's number, from 1."""
    crossed = [
        prompts.assign(prompt_id=prompts["prompt_id"] + f"-{number}", distractor=text)
        for number, text in enumerate(distractors, start=1)
    ]
    return pd.concat(crossed, ignore_index=True)


def split(prompts: pd.DataFrame, share: float, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two sets without a prompt text in common; the second has about `share` of every group."""
    texts = prompts.drop_duplicates("prompt")
    held = texts.groupby("group").sample(frac=share, random_state=seed)["prompt"]
    apart = prompts["prompt"].isin(held)
    if not 0 < apart.sum() < len(prompts):
        raise UserError(f"{len(texts)} prompts cannot be split in two. Write more of them.")
    return prompts[~apart].reset_index(drop=True), prompts[apart].reset_index(drop=True)


def expand(prompts: pd.DataFrame) -> pd.DataFrame:
    """`prompt_id, group, topic, condition, prompt`: one row per text that is sent.

    Every prompt is sent `plain`; one with a distractor also under `distractor`, which is the
    prompt (of a conversation, its last turn), a space, and the distractor.
    """
    plain = prompts.assign(condition="plain")
    both = prompts[prompts["distractor"].notna()].assign(condition="distractor")
    both["prompt"] = [
        _with_distractor(prompt, text)
        for prompt, text in zip(both["prompt"], both["distractor"], strict=True)
    ]
    sent = pd.concat([plain, both], ignore_index=True)
    return sent[["prompt_id", "group", "topic", "condition", "prompt"]]


def _lines(path: Path) -> Iterator[Line]:
    reader = READERS.get(path.suffix.lower())
    return reader(path) if reader else read_records(path)


def _with_distractor(prompt: str, distractor: str) -> str:
    held = conversation(prompt)
    if held is None:
        return f"{prompt} {distractor}"
    *before, last = held.messages
    asked = {**last, "content": f"{last['content']} {distractor}"}
    return as_prompt([*before, asked], held.tools)


def _checked(path: Path, line: Line) -> dict[str, Any]:
    if line.reason:
        raise UserError(f"{path}: row {line.row}: {line.reason}.")
    record = {name: line.value.get(name) for name in COLUMNS}
    if path.suffix.lower() == ".csv":
        record["group"] = record["group"] or PLAIN
        record["topic"] = record["topic"] or record["group"]
    if isinstance(record["prompt"], list):
        try:
            record["prompt"] = as_prompt(from_messages(record["prompt"]))
        except ValueError as error:
            raise UserError(f"{path}: row {line.row}, field 'prompt': {error}.") from error
    for name, value in record.items():
        if name == "distractor" and value is None:
            continue
        if not isinstance(value, str) or not value.strip():
            found = "is missing" if value is None else f"is {reprlib.repr(value)}, not text"
            raise UserError(f"{path}: row {line.row}, field {name!r} {found}. Write it as text.")
        problem = text_problem(value)
        if problem:
            raise UserError(f"{path}: row {line.row}, field {name!r}: {problem}.")
    return record
