"""Judges that read only the text of a completion: regular expressions and verifiable instructions.

    [patterns.flattered]            # a flag
    any = ["what an? (great|wonderful) question", "you are so (kind|smart)"]
    where = "beginning"             # or "end", "anywhere" (default)

    [patterns.refused]
    set = "refusal"                 # one of ready_sets.toml; may be joined by any, all, none

    [rules.short]                   # a flag
    words = {at_most = 50}          # or a number, or at_least

A pattern is shown where it matches one of `any` (if there are some), each of `all`, and none of
`none`; `case` and `words` (default false) ask for the same case and for whole words. A rule is
shown where every field is true. Where the prompt lacks its `asked` it is unscored (NA), as is a
completion without text; of several, `[[rules.flag]]`, the first that is scored decides. Definitions
are IFEval's (arXiv 2311.07911), but sentences end at . ! ? and …, and numbered items are no
bullets: packages that check IFEval download data. Expressions are RE2's, linear in the text.
"""

import re
import reprlib
from collections.abc import Mapping, Sequence
from functools import cache, reduce
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BeforeValidator, Field, NonNegativeInt, ValidationError, model_validator

from core.errors import UserError, first_problem
from core.specs.base import Record
from core.storage.parse import from_json, toml_file

REACH = 300  # characters that count as the beginning or the end
CERTAIN = 0.5  # probability of the likeliest language
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
APOSTROPHES = re.compile("[\u2019\u02bc\u00b4`\uff07]")
TITLE = re.compile(r"<<([^<>\n]*)>>")


class Pattern(Record):
    """The expressions that show one flag."""

    set: str | None = Field(None, description="a ready set")
    any: tuple[str, ...] = ()
    all: tuple[str, ...] = ()
    none: tuple[str, ...] = ()
    where: Literal["beginning", "end", "anywhere"] | None = None
    case: bool = Field(False, description="upper and lower case differ")
    words: bool = Field(False, description="expressions match whole words only")
    asked: str | None = Field(None, min_length=1, description="what the prompt has to contain")

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.set is not None and self.set not in ready_sets():
            names = ", ".join(ready_sets())
            raise ValueError(f"there is no ready set {self.set!r}. There are: {names}")
        if not (self.set or self.any or self.all or self.none):
            raise ValueError("it needs a ready set, or expressions in any, all or none")
        for expression in (*self.any, *self.all, *self.none):
            _refuse_invalid(expression)
        return self

    def shown(self, texts: Sequence[str]) -> list[bool | None]:
        """(completion,) whether each text shows the flag."""
        parts = [*ready_sets().get(self.set or "", []), {"any": self.any}]
        where = self.where or parts[0].get("where", "anywhere")
        start, stop = {"beginning": (0, REACH), "end": (-REACH, None)}.get(where, (0, None))
        plain = pa.array([APOSTROPHES.sub("'", text) for text in texts], pa.string())
        read = pc.utf8_slice_codeunits(plain, start, stop)
        shown = pc.is_valid(read)
        if self.set or self.any:
            shown = _union([self._part(read, part) for part in parts], len(read))
        for matches in self._matches(read, self.all):
            shown = pc.and_(shown, matches)
        return pc.and_not(shown, _union(self._matches(read, self.none), len(read))).to_pylist()

    def _part(self, texts: pa.Array, part: Mapping[str, Any]) -> pa.BooleanArray:
        """Where one of its `any` matches and none of its `none`."""
        shown, never = (self._matches(texts, part.get(key, ())) for key in ("any", "none"))
        return pc.and_not(_union(shown, len(texts)), _union(never, len(texts)))

    def _matches(self, texts: pa.Array, expressions: Sequence[str]) -> list[pa.BooleanArray]:
        edges = r"\b(?:{})\b" if self.words else "{}"
        return [
            pc.match_substring_regex(texts, edges.format(each), ignore_case=not self.case)
            for each in expressions
        ]


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
    language: str | None = Field(None, description="ISO 639 code of the language of all of it")
    asked: str | None = Field(None, min_length=1, description="what the prompt has to contain")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        fields = type(self).model_fields.keys() - {"asked"}
        if all(getattr(self, name) in (None, {}) for name in fields):
            raise ValueError(f"it needs one of {', '.join(names())}")
        if self.language is not None and self.language not in _identifier().labels:
            languages = ", ".join(sorted(_identifier().labels))
            raise ValueError(f"there is no language {self.language!r}. There are: {languages}")
        return self

    def shown(self, texts: Sequence[str]) -> list[bool | None]:
        """(completion,) whether each text shows the flag; None where its language is uncertain."""
        ranges = {name: getattr(self, name) for name in COUNTED if getattr(self, name) is not None}
        counts = _counts(texts, list(ranges))
        return [
            all(span.allows(counts[name][row]) for name, span in ranges.items())
            and self._allows(text)
            and (self.language is None or _is_language(text, self.language))
            for row, text in enumerate(texts)
        ]

    def _allows(self, text: str) -> bool:
        return (
            all(span.allows(_occurrences(word, text)) for word, span in self.keywords.items())
            and self.json_text in (None, _is_json(text))
            and self.title in (None, any(title.strip() for title in TITLE.findall(text)))
            and self.quoted in (None, len(text) > 1 and text[0] == text[-1] == '"')
            and (self.letters is None or (text.islower, text.isupper)[self.letters == "upper"]())
            and text.lower().startswith((self.starts_with or "").strip().lower())
            and text.strip('"').lower().endswith((self.ends_with or "").strip().lower())
        )


class TextJudge:
    """Flags by patterns and rules."""

    usage = None

    def __init__(self, tables: Mapping[str, Sequence[Pattern | Rule]]) -> None:
        self.tables = dict(tables)
        self.flags: tuple[str, ...] = tuple(tables)

    def judge(self, prompts: Sequence[str], completions: Sequence[str]) -> pd.DataFrame:
        """One row per completion, one nullable boolean column per flag."""
        if len(prompts) != len(completions):
            raise ValueError(f"{len(prompts)} prompts but {len(completions)} completions")
        texts = [text.strip() for text in completions]
        table = pd.DataFrame({f: pd.array([None] * len(texts), "boolean") for f in self.flags})
        for flag, rule in [(flag, rule) for flag, rules in self.tables.items() for rule in rules]:
            asked = [(rule.asked or "") in prompt for prompt in prompts]
            shown = pd.Series(rule.shown(texts), dtype="boolean")
            table[flag] = table[flag].fillna(shown[asked])
        table.loc[[not text for text in texts], :] = pd.NA
        return table


@cache
def ready_sets() -> dict[str, list[dict[str, Any]]]:
    """The parts of each ready set, by name: `any`, and `where` and `none` where it has them."""
    sets = toml_file(Path(__file__).with_name("ready_sets.toml"))
    return {name: parts if isinstance(parts, list) else [parts] for name, parts in sets.items()}


def names() -> list[str]:
    """The fields of a rule, as a judge file writes them."""
    return [field.alias or name for name, field in Rule.model_fields.items()]


def read_text_judge(path: Path, table: Literal["patterns", "rules"], content: Any) -> TextJudge:
    """The judge of a file's `[patterns]` or `[rules]`. `UserError` names flag and field."""
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path}: {table}: write one table per flag, such as [{table}.refused].")
    several = {flag: each if isinstance(each, list) else [each] for flag, each in content.items()}
    place = f"{path}: {table}."
    return TextJudge({f: [_flag(place + f, table, x) for x in xs] for f, xs in several.items()})


def _flag(place: str, table: str, fields: Any) -> Pattern | Rule:
    if table == "rules" and isinstance(fields, dict) and (odd := fields.keys() - set(names())):
        raise UserError(f"{place}: there is no {min(odd)!r}. There are: {', '.join(names())}.")
    try:
        return (Pattern if table == "patterns" else Rule).model_validate(fields)
    except ValidationError as error:
        raise UserError(f"{place}: {first_problem(error)}") from error


def _refuse_invalid(expression: str) -> None:
    try:
        pc.match_substring_regex(pa.array(["x"]), expression)
    except pa.ArrowInvalid as error:
        raise ValueError(
            f"{reprlib.repr(expression)} is no regular expression of RE2: {error}"
        ) from error


def _union(matches: Sequence[pa.BooleanArray], n: int) -> pa.BooleanArray:
    return reduce(pc.or_, matches, pa.array([False] * n, pa.bool_()))


def _counts(texts: Sequence[str], counted: Sequence[str]) -> dict[str, list[int]]:
    """(text,) how many of each of these of `COUNTED` it has."""
    read = pa.array(texts, pa.string())
    plain = pc.replace_substring_regex(read, MARKER, "") if "sentences" in counted else read
    return {
        name: pc.count_substring_regex(
            plain if name == "sentences" else read, COUNTED[name]
        ).to_pylist()
        for name in counted
    }


def _occurrences(word: str, text: str) -> int:
    return len(re.findall(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE))


def _is_json(text: str) -> bool:
    """Whether a text, without the fence of a code block, is valid JSON."""
    inner = re.sub(r"(?i)^```(json)?|```$", "", text)
    try:
        from_json(inner)
    except ValueError:
        return False
    return True


@cache
def _identifier() -> Any:
    """py3langid's model, which is part of its wheel: 140 languages, always the same answer."""
    if find_spec("py3langid") is None:
        raise ValueError("language needs `pip install 'pairtrace[language]'`")
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True, min_confidence=CERTAIN)


def _is_language(text: str, code: str) -> bool | None:
    likeliest, _ = _identifier().classify(text)
    return None if likeliest == "und" else likeliest == code
