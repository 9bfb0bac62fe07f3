"""One row of a preference set, in any of TRL's shapes, as `uid, prompt, chosen, rejected, source`.

An explicit prompt, or one that chosen and rejected begin with; text, or lists of messages (also as
JSON text, as CSV files have them); several turns, system prompts and tools. Dialogues of the form
"\\n\\nHuman: … \\n\\nAssistant: …" are read as messages. Where the prompt is text and the
completions are messages, the messages contain the prompt. Knows nothing of files.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from core.data.chat import (
    Message,
    as_completion,
    as_prompt,
    conversation,
    from_dialogue,
    from_messages,
)
from core.storage.parse import from_json

FIELDS = ("uid", "prompt", "chosen", "rejected", "source", "system", "tools")
NO_SOURCE = "unknown"  # counted like any other source

ROLES = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}  # of one plain turn

Turns = str | list[Message]  # a text that is one turn, or messages


class ShapeError(ValueError):
    """Why a row is no pair: the field, and the reason."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


def to_pair(record: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """The row as a pair, its further columns kept. `columns` says which column serves a field.

    Raises `ShapeError` where a field is missing, empty, or not separable from the others.
    """
    cells = {field: plain(record.get(columns.get(field, field))) for field in FIELDS}
    used = {columns.get(field, field) for field in FIELDS}
    if columns.get("prompt", "prompt") in record and absent(cells["prompt"]):
        raise ShapeError("prompt", "missing")
    prompt, chosen, rejected = _split(
        _prompt_turns(cells),
        _required("chosen", cells["chosen"]),
        _required("rejected", cells["rejected"]),
    )
    pair = {
        "uid": cells["uid"],
        "prompt": _prompt_cell(prompt, cells["system"], cells["tools"]),
        "chosen": _completion_cell("chosen", chosen),
        "rejected": _completion_cell("rejected", rejected),
        "source": NO_SOURCE if absent(cells["source"]) else cells["source"],
    }
    rest = {name: value for name, value in record.items() if name not in used | set(FIELDS)}
    return pair | rest


def as_record(pair: Mapping[str, Any]) -> dict[str, Any]:
    """The pair as `to_pair` reads it back, even where a text of it would be taken for messages.

    Such a text becomes one message in a list, and so do the other two.
    """
    cells = {field: pair[field] for field in ROLES}
    if not any(conversation(cell) is None and _reads_as_messages(cell) for cell in cells.values()):
        return dict(pair)
    return dict(pair) | {
        field: cell if conversation(cell) else [{"role": ROLES[field], "content": cell}]
        for field, cell in cells.items()
    }


def absent(value: Any) -> bool:
    """Whether a cell is empty."""
    return value is None or value is pd.NA or (isinstance(value, float) and pd.isna(value))


def plain(value: Any) -> Any:
    """Lists for arrays, which Parquet returns for nested cells."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _prompt_turns(cells: dict[str, Any]) -> Turns | None:
    """The prompt; tools in its own cell become those of the row."""
    dialogue = conversation(cells["prompt"]) if isinstance(cells["prompt"], str) else None
    if dialogue is None or not dialogue.tools:
        return _turns("prompt", cells["prompt"])
    cells["tools"] = dialogue.tools
    return dialogue.messages


def _turns(field: str, value: Any) -> Turns | None:
    """The content of a cell: text, messages, or None where it is empty."""
    if absent(value):
        return None
    if isinstance(value, str):
        return _decoded(field, value)
    if not isinstance(value, Sequence):
        raise ShapeError(field, f"a {type(value).__name__}, not text or messages")
    if not value:
        raise ShapeError(field, "empty")
    try:
        return from_messages(value)
    except ValueError as error:
        raise ShapeError(field, str(error)) from error


def _decoded(field: str, text: str) -> Turns:
    """Messages, where a text is a dialogue or the JSON of messages; else the text."""
    if text.lstrip()[:2] == "[{":
        try:
            value = from_json(text)
        except ValueError:
            return text
        if all(isinstance(item, dict) and "role" in item for item in value):
            return _turns(field, value) or text
    return from_dialogue(text) or text


def _reads_as_messages(text: str) -> bool:
    try:
        return not isinstance(_decoded("", text), str)
    except ShapeError:
        return True


def _required(field: str, value: Any) -> Turns:
    turns = _turns(field, value)
    if turns is None:
        raise ShapeError(field, "missing")
    return turns


def _split(prompt: Turns | None, chosen: Turns, rejected: Turns) -> tuple[Turns, Turns, Turns]:
    """Prompt, chosen and rejected, none of which repeats another."""
    if type(chosen) is not type(rejected):
        raise ShapeError("rejected", "messages on one side and text on the other")
    explicit = prompt is not None and (isinstance(prompt, list) or isinstance(chosen, str))
    if explicit and prompt is not None and not _repeat_prompt(prompt, chosen, rejected):
        return prompt, chosen, rejected
    cut = _common(chosen, rejected)
    if not cut:
        raise ShapeError("prompt", "missing, and chosen and rejected share no beginning")
    return chosen[:cut], chosen[cut:], rejected[cut:]


def _repeat_prompt(prompt: Turns, chosen: Turns, rejected: Turns) -> bool:
    """Whether both sides repeat a prompt of messages that has a cell of its own."""
    if not (isinstance(prompt, list) and isinstance(chosen, list)):
        return False
    return all(side[: len(prompt)] == prompt for side in (chosen, rejected))


def _common(chosen: Turns, rejected: Turns) -> int:
    """How much of the two is the prompt: messages, or characters up to the end of a word.

    A side never loses its last message to the prompt.
    """
    shortest = min(len(chosen), len(rejected))
    same = next((i for i, (a, b) in enumerate(zip(chosen, rejected)) if a != b), shortest)  # noqa: B905
    if isinstance(chosen, list):
        return min(same, shortest - 1)
    prefix = chosen[:same]
    words = prefix.split()
    if not words:
        return 0
    return len(prefix) - (0 if prefix[-1].isspace() else len(words[-1]))


def _prompt_cell(prompt: Turns, system: Any, tools: Any) -> str:
    if isinstance(prompt, str):
        if not prompt.strip():
            raise ShapeError("prompt", "empty")
        prompt = [{"role": "user", "content": prompt}]
    if not absent(system) and str(system).strip() and prompt[0]["role"] != "system":
        prompt = [{"role": "system", "content": str(system)}, *prompt]
    if not any(message["role"] in ("user", "tool") for message in prompt):
        raise ShapeError("prompt", "has no user turn")
    return as_prompt(prompt, _tools(tools))


def _tools(value: Any) -> list[Any]:
    if absent(value) or value == "":
        return []
    try:
        listed = from_json(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ShapeError("tools", f"not JSON ({error})") from error
    if not isinstance(listed, list):
        raise ShapeError("tools", f"a {type(listed).__name__}, not a list")
    return listed


def _completion_cell(field: str, completion: Turns) -> str:
    if isinstance(completion, str):
        completion = [{"role": "assistant", "content": completion}]
    if completion[0]["role"] != "assistant":
        raise ShapeError(field, f"begins with a turn of {completion[0]['role']}")
    if not any(message["content"].strip() or "tool_calls" in message for message in completion):
        raise ShapeError(field, "empty")
    return as_completion(completion)
