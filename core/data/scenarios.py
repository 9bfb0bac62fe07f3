"""Prompts from scenario files (YAML) and from plain text, as rows of a prompt file.

A scenario has a `base` (the request) and a `distractor` (one text, or a list of which each makes a
prompt), and may have `id`, `group` and `topic`. A file is a list of scenarios, a mapping from names
to scenarios, or either under the key `scenarios`. Anchors and aliases are refused: a few lines of
them unfold to gigabytes. Knows nothing of what a row must hold.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from core.data.readers import Line
from core.errors import UserError

PLAIN = "prompts"  # group and topic of prompts that name none
MAX_BYTES = 32 << 20
MAX_YAML = 4 << 20  # bytes; a megabyte takes four seconds to parse
MALFORMED = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError)  # !!int "", …


class _Loader(yaml.SafeLoader):
    """Nothing is said twice."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem="an alias: write the text out", problem_mark=self.peek_event().start_mark
            )
        return super().compose_node(parent, index)


def read_scenarios(path: Path) -> Iterator[Line]:
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
        content = [{"id": name, **_scenario(path, one)} for name, one in content.items()]
    if not isinstance(content, list):
        raise UserError(f"{path}: a list of scenarios with `base` and `distractor` is expected.")
    for row, scenario in enumerate(content, start=1):
        yield from _rows(row, _scenario(path, scenario))


def read_text_lines(path: Path) -> Iterator[Line]:
    """One prompt per line that is not blank."""
    for row, text in enumerate(_text(path).splitlines(), start=1):
        if text.strip():
            known = {"prompt_id": f"line-{row}", "group": PLAIN, "topic": PLAIN}
            yield Line(row, known | {"prompt": text.strip()}, "")


def _rows(row: int, scenario: Mapping[str, Any]) -> Iterator[Line]:
    given = scenario.get("distractor", scenario.get("distractors"))
    distractors = given if isinstance(given, list) else [given]
    group = scenario.get("group", PLAIN)
    name = str(scenario.get("id", scenario.get("name", f"scenario-{row}")))
    for number, distractor in enumerate(distractors, start=1):
        known = {
            "prompt_id": name if len(distractors) == 1 else f"{name}-{number}",
            "group": group,
            "topic": scenario.get("topic", group),
            "prompt": scenario.get("base", scenario.get("prompt")),
            "distractor": distractor,
        }
        yield Line(row, known, "")


def _scenario(path: Path, value: Any) -> Mapping[str, Any]:
    if isinstance(value, str):
        return {"base": value}
    if not isinstance(value, Mapping):
        raise UserError(f"{path}: a scenario is a {type(value).__name__}, not `base: …`.")
    return value


def _text(path: Path, most: int = MAX_BYTES) -> str:
    if path.stat().st_size > most:
        raise UserError(f"{path}: larger than {most >> 20} MB. Split it, or save it as JSONL.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error}). Save it as UTF-8.") from error
