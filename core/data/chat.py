"""Conversations in a text cell: several turns, a system prompt, tools, tool calls.

A prompt or completion of one plain turn is that turn's text. Anything else is stored in the same
cell as JSON text, `[{"role": …, "content": …}, …]` or `{"messages": […], "tools": […]}`, always
written by `as_prompt` or `as_completion`. A plain text that looks like one is wrapped by them, so
that reading never has to guess. Knows nothing of chat templates.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from core.storage.parse import from_json

BEGINNINGS = ('[{"role":', '{"messages":')
KEPT = ("role", "content", "name", "tool_calls", "tool_call_id")
ROLES = ("system", "developer", "user", "assistant", "tool")
SPEAKERS = {"Human": "user", "Assistant": "assistant"}
TURN = re.compile(r"\n\n(Human|Assistant):")

Message = dict[str, Any]


class Conversation(NamedTuple):
    """Turns in order, and the tools that the model was offered."""

    messages: list[Message]
    tools: list[Any]


def as_prompt(messages: Sequence[Message], tools: Sequence[Any] = ()) -> str:
    """The cell of a prompt."""
    return _cell(messages, tools, plain_role="user")


def as_completion(messages: Sequence[Message]) -> str:
    """The cell of a completion: its text, if it is one assistant turn without tool calls."""
    return _cell(messages, (), plain_role="assistant")


def conversation(cell: str) -> Conversation | None:
    """The conversation in a cell, or None where it is one plain turn."""
    if not cell.startswith(BEGINNINGS):
        return None
    try:
        value = from_json(cell)
    except ValueError:
        return None
    content = value if isinstance(value, dict) else {"messages": value}
    messages, tools = content.get("messages"), content.get("tools")
    if not isinstance(messages, list) or not all(map(_is_message, messages)) or not messages:
        return None
    return Conversation(messages, tools if isinstance(tools, list) else [])


def turns(cell: str, role: str = "user") -> list[Message]:
    """The messages of a cell; a plain text is one message of `role`."""
    dialogue = conversation(cell)
    return dialogue.messages if dialogue else [{"role": role, "content": cell}]


def with_sentence(cell: str, sentence: str, role: str) -> str:
    """A prompt with a sentence and a blank line before its first turn of `role`.

    A prompt without a system turn gets one.
    """
    dialogue = conversation(cell)
    messages = [dict(message) for message in turns(cell)]
    first = next((message for message in messages if message["role"] == role), None)
    if first is not None:
        first["content"] = f"{sentence}\n\n{first['content']}"
    else:
        messages.insert(0, {"role": role, "content": sentence})
    return as_prompt(messages, dialogue.tools if dialogue else ())


def display_text(cell: str) -> str:
    """A cell for people to read: a plain text as it is, else its turns, each under its role."""
    dialogue = conversation(cell)
    if dialogue is None:
        return cell
    parts = [f"[{message['role']}]\n{_content(message)}" for message in dialogue.messages]
    if dialogue.tools:
        parts.insert(0, f"[tools]\n{_json(dialogue.tools)}")
    return "\n\n".join(parts)


def from_messages(value: Sequence[Any]) -> list[Message]:
    """The messages of a data set's cell. `ValueError` says what is wrong with one."""
    messages = []
    for number, item in enumerate(value, start=1):
        if not isinstance(item, Mapping):
            raise ValueError(f"message {number} is a {type(item).__name__}, not role and content")
        message = {name: item[name] for name in KEPT if item.get(name) is not None}
        if message.get("role") not in ROLES:
            raise ValueError(f"message {number} has the role {message.get('role')!r}")
        message["content"] = _text(message.get("content", ""), number)
        messages.append(message)
    return messages


def from_dialogue(text: str) -> list[Message] | None:
    """Turns of a "\\n\\nHuman: … \\n\\nAssistant: …" text, or None where it is not one.

    Two turns of one speaker in a row are joined: chat templates refuse them.
    """
    if not text.startswith("\n\nHuman:"):
        return None
    parts = TURN.split(text)[1:]
    messages: list[Message] = []
    for speaker, text in zip(parts[::2], parts[1::2], strict=True):
        role, content = SPEAKERS[speaker], text.strip()
        if messages and messages[-1]["role"] == role:
            content = f"{messages.pop()['content']}\n\n{content}".strip()
        messages.append({"role": role, "content": content})
    return messages


def _cell(messages: Sequence[Message], tools: Sequence[Any], *, plain_role: str) -> str:
    only = messages[0] if len(messages) == 1 else None
    if only and only.keys() == {"role", "content"} and only["role"] == plain_role and not tools:
        text: str = only["content"]
        if conversation(text) is None:
            return text
    if tools:
        return _json({"messages": list(messages), "tools": list(tools)})
    return _json(list(messages))


def _text(content: Any, number: int) -> str:
    """Content that is text, or a list of parts that are."""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        kinds = {part.get("type") if isinstance(part, Mapping) else "other" for part in content}
        if kinds <= {"text"}:
            return "".join(str(part.get("text") or "") for part in content)
        raise ValueError(
            f"message {number} contains {', '.join(sorted(map(str, kinds)))}, not text"
        )
    raise ValueError(f"message {number} contains a {type(content).__name__}, not text")


def _content(message: Message) -> str:
    calls = message.get("tool_calls")
    parts = [message.get("content") or "", f"calls {_json(calls)}" if calls else ""]
    return "\n".join(part for part in parts if part)


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and value.get("role") in ROLES and "content" in value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
