"""Judges written as verifiable instructions: what a program can count in a completion.

    [rules.three_items]             # a flag
    bullets = 3                     # exactly; or {at_least = 2, at_most = 4}

    [rules.short]
    words = {at_most = 50}
    keywords = {rain = {at_least = 1}}

A completion shows a flag where every field of its table is true of it; one without text is unscored
(NA). The definitions are those of IFEval (arXiv 2311.07911), but sentences are split at . ! ? and
…, not by a trained model, and numbered items are counted apart from bullets. The packages on PyPI
that check IFEval need nltk's data, which they download at run time; nothing is downloaded here.
Counts are expressions of RE2, which takes time linear in the text.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BeforeValidator, Field, NonNegativeInt, ValidationError, model_validator

from core.errors import UserError, first_problem
from core.specs.base import Record
from core.storage.parse import from_json

MARKER = r"(?m)^[ \t]*(?:\d+[.)]|[-*•])[ \t]+"  # of a list's item: its dot ends no sentence
COUNTED = {
    "words": r"[\p{L}\p{M}\p{N}_]+",
    "sentences": r"""\S(?s:.*?)(?:[.!?…。！？]["'”’)\]*]*(?:\s|\z)|\z)""",
    "characters": r"(?s:.)",
    "paragraphs": r"\S(?s:.*?)(?:\n[ \t]*\n|\z)",
    "bullets": r"(?m)^[ \t]*[-*•][ \t]+\S",
    "numbered": r"(?m)^[ \t]*\d+[.)][ \t]+\S",
    "highlights": r"\*[^\n*]+\*",
    "placeholders": r"\[[^\[\]\n]+\]",
    "capitals": r"\b[A-Z][A-Z0-9]+\b",
    "commas": r"[,，、]",
}
TITLE = re.compile(r"<<([^<>\n]*)>>")


class Count(Record):
    """How often something may occur."""

    at_least: NonNegativeInt = 0
    at_most: NonNegativeInt | None = None

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("write a number, or at_least, at_most or both")
        if self.at_most is not None and self.at_most < self.at_least:
            raise ValueError(f"at_most {self.at_most} is less than at_least {self.at_least}")
        return self

    def allows(self, number: int) -> bool:
        """Whether the number is within the bounds, which belong to it."""
        return self.at_least <= number and (self.at_most is None or number <= self.at_most)


def _range(value: Any) -> Any:
    """A whole number n stands for exactly n."""
    if isinstance(value, int) and not isinstance(value, bool):
        return {"at_least": value, "at_most": value}
    if not isinstance(value, dict | Count):
        raise ValueError(f"{value!r} is no whole number and no table of at_least, at_most")
    return value


Number = Annotated[Count, BeforeValidator(_range)]


class Rule(Record):
    """What is true of a completion that shows one flag."""

    words: Number | None = None
    sentences: Number | None = None
    characters: Number | None = None
    paragraphs: Number | None = Field(None, description="separated by empty lines")
    bullets: Number | None = Field(None, description="lines that begin with -, * or •")
    numbered: Number | None = Field(None, description="lines that begin with 1. or 1)")
    highlights: Number | None = Field(None, description="parts between asterisks")
    placeholders: Number | None = Field(None, description="such as [address]")
    capitals: Number | None = Field(None, description="words in capital letters only")
    commas: Number | None = None
    keywords: dict[Annotated[str, Field(min_length=1)], Number] = Field(
        default={}, description="how often each occurs, as whole words, in any case"
    )
    json_text: bool | None = Field(None, alias="json", description="all of it is valid JSON")
    title: bool | None = Field(None, description="it has a title, <<so>>")
    quoted: bool | None = Field(None, description="all of it is in double quotation marks")
    letters: Literal["lower", "upper"] | None = Field(None, description="case of all letters")
    starts_with: str | None = Field(None, min_length=1)
    ends_with: str | None = Field(None, min_length=1, description="in any case")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if all(getattr(self, name) in (None, {}) for name in type(self).model_fields):
            raise ValueError(f"it needs one of {', '.join(names())}")
        return self

    def allows(self, text: str, counts: Mapping[str, int]) -> bool:
        """Whether a text with these `COUNTED` things in it shows the flag."""
        ranges = {name: getattr(self, name) for name in COUNTED}
        return (
            all(span.allows(counts[name]) for name, span in ranges.items() if span is not None)
            and all(span.allows(_occurrences(word, text)) for word, span in self.keywords.items())
            and self.json_text in (None, _is_json(text))
            and self.title in (None, any(title.strip() for title in TITLE.findall(text)))
            and self.quoted in (None, len(text) > 1 and text[0] == text[-1] == '"')
            and (self.letters is None or (text.islower, text.isupper)[self.letters == "upper"]())
            and text.lower().startswith((self.starts_with or "").strip().lower())
            and text.strip('"').lower().endswith((self.ends_with or "").strip().lower())
        )


class RuleJudge:
    """Flags by verifiable instructions."""

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self.rules = dict(rules)
        self.flags: tuple[str, ...] = tuple(rules)

    def judge(self, prompts: Sequence[str], completions: Sequence[str]) -> pd.DataFrame:
        """One row per completion, one nullable boolean column per flag."""
        if len(prompts) != len(completions):
            raise ValueError(f"{len(prompts)} prompts but {len(completions)} completions")
        texts = [text.strip() for text in completions]
        counts = _counts(texts)
        return pd.DataFrame(
            {
                flag: pd.array(
                    [
                        rule.allows(text, row) if text else None
                        for text, row in zip(texts, counts, strict=True)
                    ],
                    dtype="boolean",
                )
                for flag, rule in self.rules.items()
            }
        )


def names() -> list[str]:
    """The fields of a rule, as a judge file writes them."""
    return [field.alias or name for name, field in Rule.model_fields.items()]


def read_rules(path: Path, content: Any) -> RuleJudge:
    """The judge of a file's `[rules]`. `UserError` names the file, the flag and the field."""
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path}: rules: write one table per flag, such as [rules.three_items].")
    rules = {}
    for flag, fields in content.items():
        if isinstance(fields, dict) and (unknown := sorted(fields.keys() - set(names()))):
            raise UserError(
                f"{path}: rules.{flag}: there is no {unknown[0]!r}. "
                f"There are: {', '.join(names())}."
            )
        try:
            rules[flag] = Rule.model_validate(fields)
        except ValidationError as error:
            raise UserError(f"{path}: rules.{flag}: {first_problem(error)}") from error
    return RuleJudge(rules)


def _counts(texts: Sequence[str]) -> list[dict[str, int]]:
    """(text,) how many of each of `COUNTED` it has."""
    read = pa.array(texts, pa.string())
    plain = pc.replace_substring_regex(read, MARKER, "")
    columns = {
        name: pc.count_substring_regex(plain if name == "sentences" else read, expression)
        for name, expression in COUNTED.items()
    }
    return pa.table(columns).to_pylist()


def _occurrences(word: str, text: str) -> int:
    return len(re.findall(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE))


def _is_json(text: str) -> bool:
    """Whether a text, without the fence of a code block, is valid JSON."""
    inner = text.removesuffix("```").removeprefix("```")
    if len(inner) < len(text) and inner[:4].lower() == "json":
        inner = inner[4:]
    try:
        from_json(inner)
    except ValueError:
        return False
    return True
