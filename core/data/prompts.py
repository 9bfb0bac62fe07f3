"""Prompts that may show a behavior.

A prompt has `prompt_id, group, topic, prompt` and optional cells, such as `distractor`, that
conditions (core.data.conditions) make other texts of; they are null where it has none.
Files are JSONL or CSV with these columns, text with one prompt per line, or YAML scenarios: a list,
or a mapping from names, of `base` (the request) and `distractor` (one text, or a list of which each
makes a prompt), with optional `id, group, topic`. They are small and written by people, so the
first bad row is an error. Knows nothing of chat templates.
"""

import reprlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from core.data.chat import as_prompt, from_messages
from core.data.readers import Line, read_records
from core.data.schema import text_problem
from core.errors import UserError

LABELS = ("prompt_id", "group", "topic")
REQUIRED = [*LABELS, "prompt"]
COLUMNS = [*REQUIRED, "distractor"]
SCENARIO = {*COLUMNS, "id", "name", "base", "distractors"}
DEFAULT_GROUP = "prompts"  # group and topic of prompts that name none
MAX_BYTES = 32 << 20
MAX_YAML = 4 << 20  # bytes; a megabyte takes four seconds to parse
MALFORMED = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError)  # !!int "", …


def read_prompts(path: Path | str, columns: Sequence[str] = ()) -> pd.DataFrame:
    """`prompt_id, group, topic, prompt, distractor` and further columns, in file order.

    Cells of further columns are text, messages (as the text of core.data.chat) or None.
    """
    path, names = Path(path), list(dict.fromkeys([*COLUMNS, *columns]))
    if not path.is_file():
        raise UserError(f"{path}: no such file. Check the path in the spec or in project.toml.")
    rows: dict[str, dict[str, Any]] = {}
    for line in _lines(path):
        record = _checked(path, line, names)
        if record["prompt_id"] in rows:
            raise UserError(
                f"{path}: row {line.row}, field 'prompt_id': {record['prompt_id']!r} is taken. "
                "Give every prompt its own."
            )
        rows[record["prompt_id"]] = record
    if not rows:
        raise UserError(f"{path}: contains no prompts. Each line needs {', '.join(COLUMNS)}.")
    return pd.DataFrame(rows.values(), columns=names)


def read_group(path: Path | str, group: str | None) -> pd.DataFrame:
    """The prompts of a group, or all, one row per text. `UserError` for a group that is absent."""
    prompts = read_prompts(path)[["prompt_id", "group", "topic", "prompt"]]
    prompts = prompts.drop_duplicates("prompt")
    if group is None:
        return prompts
    if not prompts["group"].eq(group).any():
        groups = ", ".join(map(repr, sorted(prompts["group"].unique())))
        raise UserError(f"{path}: has no prompt of group {group!r}. Its groups: {groups}.")
    return prompts[prompts["group"].eq(group)]


def optional_fields(path: Path | str) -> list[str]:
    """Fields of a prompt file that only conditions can read, such as `distractor`."""
    lines = (line for line in _lines(Path(path)) if not line.reason)
    names = (name for line in lines for name, cell in line.value.items() if cell is not None)
    return [str(name) for name in dict.fromkeys(names) if name not in REQUIRED]


def text_columns(path: Path | str) -> list[str]:
    """The optional fields of which every cell is text or messages."""
    lines = [line.value for line in _lines(Path(path)) if not line.reason]
    return [
        name
        for name in optional_fields(path)
        if all(isinstance(line.get(name), str | list | None) for line in lines)
    ]


def read_text_lines(path: Path) -> Iterator[Line]:
    """One prompt per line that is not blank."""
    for row, text in enumerate(_text(path).splitlines(), start=1):
        if text.strip():
            labels = {"prompt_id": f"line-{row}", "group": DEFAULT_GROUP, "topic": DEFAULT_GROUP}
            yield Line(row, labels | {"prompt": text.strip()}, "")


def write_prompts(prompts: pd.DataFrame, path: Path) -> None:
    """Write prompts as JSONL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    prompts.to_json(path, orient="records", lines=True, force_ascii=False)


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
    sample = texts.groupby("group").sample(frac=share, random_state=seed)["prompt"]
    second = prompts["prompt"].isin(sample)
    if not 0 < second.sum() < len(prompts):
        raise UserError(f"{len(texts)} prompts cannot be split in two. Write more of them.")
    return prompts[~second].reset_index(drop=True), prompts[second].reset_index(drop=True)


def _lines(path: Path) -> Iterator[Line]:
    suffix = path.suffix.lower()
    if suffix == ".txt":
        return read_text_lines(path)
    return _scenarios(path) if suffix in (".yaml", ".yml") else read_records(path)


def _checked(path: Path, line: Line, names: Sequence[str]) -> dict[str, Any]:
    """The fields of a prompt; `UserError` where one is missing or is no text."""
    if line.reason:
        raise UserError(f"{path}: row {line.row}: {line.reason}.")
    record = {name: line.value.get(name) for name in names}
    if path.suffix.lower() == ".csv":
        record["group"] = record["group"] or DEFAULT_GROUP
        record["topic"] = record["topic"] or record["group"]
    for name, value in record.items():
        if name not in REQUIRED and (value is None or value == ""):
            record[name] = None
            continue
        if isinstance(value, list) and name not in LABELS:
            value = record[name] = _messages(path, line.row, name, value)
        if not isinstance(value, str) or not value.strip():
            problem = "is missing" if value is None else f"is {reprlib.repr(value)}, not text"
            raise UserError(f"{path}: row {line.row}, field {name!r} {problem}. Write it as text.")
        if problem := text_problem(value):
            raise UserError(f"{path}: row {line.row}, field {name!r}: {problem}.")
    return record


def _messages(path: Path, row: int, name: str, value: list[Any]) -> str:
    """The cell of a list of messages."""
    try:
        return as_prompt(from_messages(value))
    except ValueError as error:
        raise UserError(f"{path}: row {row}, field {name!r}: {error}.") from error


class _Loader(yaml.SafeLoader):
    """Refuses aliases: a few lines of them expand to gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem="an alias: write the text out", problem_mark=self.peek_event().start_mark
            )
        return super().compose_node(parent, index)


def _scenarios(path: Path) -> Iterator[Line]:
    """Rows of a YAML file; a scenario's row is its number, from 1."""
    text = _text(path, MAX_YAML)
    try:
        content = yaml.load(text, _Loader)  # a SafeLoader
    except RecursionError as error:
        raise UserError(f"{path}: not readable YAML: it nests too deeply.") from error
    except MALFORMED as error:
        raise UserError(f"{path}: not readable YAML ({error}).") from error
    if isinstance(content, Mapping) and "scenarios" in content:
        content = content["scenarios"]
    if isinstance(content, Mapping):
        content = [{"id": name, **_scenario(path, value)} for name, value in content.items()]
    if not isinstance(content, list):
        raise UserError(f"{path}: a list of scenarios with `base` and `distractor` is expected.")
    for row, scenario in enumerate(content, start=1):
        yield from _scenario_prompts(row, _scenario(path, scenario))


def _scenario(path: Path, value: Any) -> Mapping[str, Any]:
    if isinstance(value, str):
        return {"base": value}
    if not isinstance(value, Mapping):
        raise UserError(f"{path}: a scenario is a {type(value).__name__}, not `base: …`.")
    return value


def _scenario_prompts(row: int, scenario: Mapping[str, Any]) -> Iterator[Line]:
    distractors = scenario.get("distractor", scenario.get("distractors"))
    distractors = distractors if isinstance(distractors, list) else [distractors]
    group = scenario.get("group", DEFAULT_GROUP)
    name = str(scenario.get("id", scenario.get("name", f"scenario-{row}")))
    for number, distractor in enumerate(distractors, start=1):
        record = {
            "prompt_id": name if len(distractors) == 1 else f"{name}-{number}",
            "group": group,
            "topic": scenario.get("topic", group),
            "prompt": scenario.get("base", scenario.get("prompt")),
            "distractor": distractor,
        }
        unread = {key: value for key, value in scenario.items() if key not in SCENARIO}
        yield Line(row, unread | record, "")


def _text(path: Path, most: int = MAX_BYTES) -> str:
    if path.stat().st_size > most:
        raise UserError(f"{path}: larger than {most >> 20} MB. Split it, or save it as JSONL.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error}). Save it as UTF-8.") from error
