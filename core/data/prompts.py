"""Prompts that may show a behavior, and the text that is sent under a condition.

A prompt file is JSONL with `prompt_id, group, topic, prompt, distractor` per line; `distractor`
is null where the prompt has none. The file is small and written by people, so the first bad line
is an error. Knows nothing of chat templates.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from core.data.jsonl import Line, read_lines
from core.errors import UserError

REQUIRED = ("prompt_id", "group", "topic", "prompt")
COLUMNS = [*REQUIRED, "distractor"]


def read_prompts(path: Path | str) -> pd.DataFrame:
    """`prompt_id, group, topic, prompt, distractor`, one row per prompt, in file order."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file. Check the path in the spec or in project.toml.")
    rows: dict[str, dict[str, Any]] = {}
    for line in read_lines(path):
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


def expand(prompts: pd.DataFrame) -> pd.DataFrame:
    """`prompt_id, group, topic, condition, prompt`: one row per text that is sent.

    Every prompt is sent `plain`; one with a distractor also under `distractor`, which is the
    prompt, a space, and the distractor.
    """
    plain = prompts.assign(condition="plain")
    both = prompts[prompts["distractor"].notna()].assign(condition="distractor")
    both["prompt"] = both["prompt"] + " " + both["distractor"]
    sent = pd.concat([plain, both], ignore_index=True)
    return sent[["prompt_id", "group", "topic", "condition", "prompt"]]


def _checked(path: Path, line: Line) -> dict[str, Any]:
    if line.reason:
        raise UserError(f"{path}: row {line.row}: {line.reason}.")
    record = {name: line.value.get(name) for name in COLUMNS}
    for name, value in record.items():
        if name == "distractor" and value is None:
            continue
        if not isinstance(value, str) or not value.strip():
            found = "is missing" if value is None else f"is {value!r}, not text"
            raise UserError(f"{path}: row {line.row}, field {name!r} {found}. Write it as text.")
    return record
