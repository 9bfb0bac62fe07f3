"""Conditions: what is done to a prompt before it is sent.

`plain` always exists and sends the prompt as it is. Any other has a name and at least one change:

- `replace`: another text in the prompt's place, such as its translation
- `prefix`, `suffix`: before and after its last turn, after a space unless white space is given
- `system`: a system prompt, in place of the prompt's own
- `turns`: earlier turns, as messages of `role` and `content`, or the column that has them

In each text, `{column}` stands for the prompt's cell in that column of its file, `{{column}}` for
these characters themselves. A prompt that lacks a cell is not sent under the condition. Knows
nothing of chat templates.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import pandas as pd
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from core.data.chat import Message, as_prompt, conversation, turns
from core.data.prompts import read_prompts
from core.errors import UserError, first_problem

PLAIN = "plain"
NAME = re.compile(r"\w(?:[\w .+-]{0,38}\w)?")
COLUMN = re.compile(r"\{\{(\w[\w .-]*)\}\}|\{(\w[\w .-]*)\}")
ROLE = re.compile(r"(?im)^\s*(user|assistant):")
CHANGES = ("replace", "prefix", "suffix", "system", "turns")
SHORT = 60  # characters of a text in words
SYSTEM_ROLES = ("system", "developer")
SENT = ["prompt_id", "group", "topic", "condition", "prompt"]


def _columns(text: str) -> list[str]:
    return [match[2] for match in COLUMN.finditer(text) if match[2]]


def _filled(text: str, prompt: Mapping[str, Any]) -> str:
    """A text with the prompt's cells in place of `{column}`."""
    return COLUMN.sub(lambda m: str(prompt[m[2]]) if m[2] else "{" + m[1] + "}", text)


def _is_absent(cell: Any) -> bool:
    return not isinstance(cell, str) or not cell.strip()


def _check_turns(messages: Sequence[Message]) -> None:
    roles = [message["role"] for message in messages]
    if not roles or roles != ["user", "assistant"] * (len(roles) // 2):
        raise ValueError(
            "earlier turns go user, assistant, … and end with the assistant's; these are "
            f"{', '.join(roles) or 'none'}"
        )


def _quoted(value: str) -> str:
    column = COLUMN.fullmatch(value)
    if column and column[2]:
        return f"its {column[2]}"
    return f"“{value if len(value) <= SHORT else value[: SHORT - 1] + '…'}”"


class Turn(BaseModel):
    """One earlier turn."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    role: Literal["user", "assistant"]
    content: str


class Condition(BaseModel):
    """A name, and what it does to a prompt."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    description: str = Field("", description="a few words for people")
    replace: str | None = None
    prefix: str | None = None
    suffix: str | None = None
    system: str | None = None
    turns: str | tuple[Turn, ...] | None = None

    @field_validator("name")
    @classmethod
    def _is_simple(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            raise ValueError(
                f"{name[:60]!r} is not a name: 1 to 40 letters, digits, spaces, '.', '-', '+', '_'"
            )
        if name == PLAIN:
            raise ValueError(f"{PLAIN!r} exists always, and is the prompt as it is")
        return name

    @field_validator("replace", "prefix", "suffix", "system")
    @classmethod
    def _is_text(cls, text: str | None) -> str | None:
        if text is not None and not text.strip():
            raise ValueError("is empty. Write a text, or a column of the prompts: '{column}'")
        if text is not None and "prompt" in _columns(text):
            raise ValueError("'{prompt}' is there already: write a prefix and a suffix around it")
        return text

    @field_validator("turns")
    @classmethod
    def _alternate(cls, value: str | tuple[Turn, ...] | None) -> str | tuple[Turn, ...] | None:
        if isinstance(value, str):
            column = COLUMN.fullmatch(value)
            if not column or not column[2]:
                raise ValueError(
                    "is neither a list of messages nor one '{column}' of the prompts. In a table, "
                    "write a line per turn: 'user: …', 'assistant: …'"
                )
        elif value is not None:
            _check_turns([turn.model_dump() for turn in value])
        return value

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if all(getattr(self, name) is None for name in CHANGES):
            raise ValueError(
                f"condition {self.name!r} changes nothing. Give it one of {', '.join(CHANGES)}"
            )
        return self

    @model_serializer(mode="wrap")
    def _what_is_given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value not in (None, "")}

    @property
    def columns(self) -> list[str]:
        """The columns of the prompt file that it reads, in order, each once."""
        contents = [t.content for t in self.turns] if isinstance(self.turns, tuple) else []
        texts = [getattr(self, name) for name in CHANGES]
        named = [_columns(text) for text in (*texts, *contents) if isinstance(text, str)]
        return list(dict.fromkeys(column for columns in named for column in columns))

    @property
    def words(self) -> str:
        """What it does, for people: its description, else its changes."""
        if self.description:
            return self.description
        prompt = _quoted(self.replace) if self.replace else "the prompt"
        parts = [self.prefix and _quoted(self.prefix), prompt, self.suffix and _quoted(self.suffix)]
        words = ", then ".join(filter(None, parts))
        if self.system:
            words += f", with {_quoted(self.system)} as system prompt"
        return words + ", after earlier turns" * bool(self.turns)

    def applied(self, prompt: Mapping[str, Any]) -> str | None:
        """The text that is sent for a row of a prompt file; None where it lacks a column.

        Raises `ValueError` where a column's earlier turns are none.
        """
        if any(_is_absent(prompt.get(column)) for column in self.columns):
            return None
        cell = _filled(self.replace, prompt) if self.replace else str(prompt["prompt"])
        dialogue = conversation(cell)
        *before, last = turns(cell)
        messages = [*before, {**last, "content": self._around(last["content"], prompt)}]
        n_system = int(messages[0]["role"] in SYSTEM_ROLES and len(messages) > 1)
        system, rest = messages[:n_system], messages[n_system:]
        if self.system:
            system = [{"role": "system", "content": _filled(self.system, prompt)}]
        return as_prompt(
            [*system, *self._earlier(prompt), *rest], dialogue.tools if dialogue else ()
        )

    def _around(self, content: str, prompt: Mapping[str, Any]) -> str:
        """A turn's text with prefix and suffix."""
        if self.prefix:
            space = "" if self.prefix[-1].isspace() else " "
            content = f"{_filled(self.prefix, prompt)}{space}{content}"
        if self.suffix:
            space = "" if self.suffix[0].isspace() else " "
            content = f"{content}{space}{_filled(self.suffix, prompt)}"
        return content

    def _earlier(self, prompt: Mapping[str, Any]) -> list[Message]:
        if isinstance(self.turns, str):
            messages = turns(str(prompt[_columns(self.turns)[0]]))
            _check_turns(messages)
            return messages
        return [
            {"role": turn.role, "content": _filled(turn.content, prompt)}
            for turn in self.turns or ()
        ]


CONDITIONS = (Condition(name="distractor", suffix="{distractor}"),)  # where none are given


def expand(prompts: pd.DataFrame, conditions: Sequence[Condition] = CONDITIONS) -> pd.DataFrame:
    """`prompt_id, group, topic, condition, prompt`: one row per text that is sent.

    Every prompt is sent `plain`, and under each condition whose columns it has.
    """
    rows = prompts.to_dict("records")
    texts = [(row, PLAIN, row["prompt"]) for row in rows]
    for condition in conditions:
        texts += [(row, condition.name, _applied(condition, row)) for row in rows]
    sent = [{**row, "condition": name, "prompt": text} for row, name, text in texts if text]
    return pd.DataFrame(sent, columns=SENT)


def read_sent(path: Path | str, conditions: Sequence[Condition] = CONDITIONS) -> pd.DataFrame:
    """What is sent of a prompt file: `expand` of its prompts."""
    prompts = read_prompts(path, columns_of(conditions))
    try:
        return expand(prompts, conditions)
    except ValueError as error:
        raise UserError(f"{path}: {error}.") from error


def columns_of(conditions: Iterable[Condition]) -> list[str]:
    """The columns that some conditions read, each once."""
    return list(dict.fromkeys(column for each in conditions for column in each.columns))


def named_apart(conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """The conditions; `ValueError` where two have one name."""
    names = [condition.name for condition in conditions]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"two conditions are called {twice!r}. Give each its own name")
    return conditions


def as_row(condition: Condition) -> dict[str, str]:
    """A condition as a row of a table for `from_rows`: a text per change, its turns a line each."""
    turns = condition.turns
    if isinstance(turns, tuple):
        turns = "\n".join(f"{turn.role}: {turn.content}" for turn in turns)
    return condition.model_dump(exclude={"turns"}) | ({"turns": turns} if turns else {})


def from_rows(
    rows: Iterable[Mapping[str, Any]], earlier: Iterable[Condition] = ()
) -> tuple[Condition, ...]:
    """Conditions from rows of a table, empty ones left out; descriptions, which it does not ask
    for, are those of the `earlier` conditions of the same names."""
    before = {condition.name: condition for condition in earlier}
    conditions = []
    for number, row in enumerate(rows, start=1):
        cells = {name: cell for name, cell in row.items() if isinstance(cell, str) and cell.strip()}
        try:
            if cells:
                conditions.append(_from_row(cells, before.get(cells.get("name", "").strip())))
        except ValidationError as error:
            raise UserError(f"condition {number}: {first_problem(error)}.") from error
    try:
        return named_apart(tuple(conditions))
    except ValueError as error:
        raise UserError(f"{error}.") from error


def _from_row(cells: Mapping[str, str], earlier: Condition | None) -> Condition:
    values: dict[str, Any] = {**cells, "name": cells.get("name", "").strip()}
    if earlier:
        values["description"] = earlier.description
    if earlier and cells.get("turns") == as_row(earlier).get("turns"):
        values["turns"] = earlier.turns  # whatever its lines begin with
    elif "turns" in cells:
        values["turns"] = _turns_of(cells["turns"])
    return Condition(**values)


def _turns_of(text: str) -> str | list[Message]:
    """Turns from lines that begin with `user:` or `assistant:`; other lines continue a turn."""
    before, *parts = ROLE.split(text)
    if before.strip() or not parts:
        return text.strip()  # a column, or refused as no list of messages
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return [{"role": role.lower(), "content": content.strip()} for role, content in pairs]


def in_words(name: str, conditions: Iterable[Condition]) -> str:
    """What a condition does to a prompt, for people; "" where it is none of these."""
    if name == PLAIN:
        return "the prompt as it is"
    return next((each.words for each in conditions if each.name == name), "")


def _applied(condition: Condition, prompt: Mapping[Any, Any]) -> str | None:
    try:
        return condition.applied(prompt)
    except ValueError as error:
        where = f"prompt {prompt['prompt_id']!r}, condition {condition.name!r}"
        raise ValueError(f"{where}: {error}") from error
