"""Behaviors, and the scores that order pairs for one.

A behavior is one yes/no flag of the judge, measured on one group of prompts under one condition,
and compared with another condition.
The same record serves attribution (which prompts build the behavior vector) and evaluation (which
rate is reported). Every score comes from one scan over an index (core.attribution.similarity), so
a ranking has all of them, in whichever order it is written; methods that need more than an index
are compared by `pairtrace bench methods`. Does not know how completions are judged.

A behavior without a flag is a `Contrast`: completions of the reference that show it against others
that do not, from examples or by a sentence that asks for it. It is ranked like any other, through
the flag that the contrast step writes; its rate is not measured.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import (
    Field,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from core.data.conditions import PLAIN, Condition
from core.specs.base import DTYPE, Dtype, File, Judge, Model, Record, Spec

Score = Literal["discriminant", "gated", "bilinear", "similarity", "bank", "projection"]

NO_JUDGE = "none"  # in a judge's place: completions get no flags, and no behavior is measured

DEFAULT_SCORE: Score = "discriminant"  # the best on other worlds: docs/experiments/scores.md

SCORE_NAMES: dict[Score, str] = {
    "discriminant": "gated discriminant",
    "gated": "gated similarity",
    "bilinear": "bilinear gated similarity",
    "similarity": "similarity",
    "bank": "bank similarity",
    "projection": "projection",
}


class Behavior(Record):
    """One named behavior: share of completions with `flag` among `group` under `condition`."""

    name: str = Field(description="what the analyst calls it")
    flag: str = Field(description="the judge's flag that counts as showing it")
    group: str = Field(description="the group of prompts it is measured on")
    condition: str = Field(PLAIN, description="the condition that it is measured under")
    wanted: bool = Field(False, description="a change to keep, reported as a guard")
    description: str = Field("", description="one sentence for people")
    against: str = Field(PLAIN, description="the condition that it is compared with")

    @model_validator(mode="after")
    def _compares_two(self) -> Self:
        if self.against == self.condition != PLAIN:
            raise ValueError(
                f"behavior {self.name!r}: against is {self.against!r}, its condition. Compare it "
                f"with another one, such as {PLAIN!r}"
            )
        return self

    @model_serializer(mode="wrap")
    def _as_before_against(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `against` where it is plain, so that earlier runs keep their ids."""
        values: dict[str, Any] = handler(self)
        return {k: v for k, v in values.items() if (k, v) != ("against", PLAIN)}


def check_conditions(behavior: Behavior, conditions: Iterable[Condition]) -> None:
    """`ValueError` where a behavior names a condition that does not exist."""
    names = [PLAIN, *(condition.name for condition in conditions)]
    for field in ("condition", "against"):
        if (name := getattr(behavior, field)) not in names:
            raise ValueError(
                f"behavior {behavior.name!r}: {field} {name[:60]!r} does not exist. "
                f"There are: {', '.join(names)}"
            )


CONTRAST = "contrast"  # group of the completions that a contrast step writes
SHOWS = "shows"  # their flag
SOURCES = ("examples", "sentence")
LONGEST_SENTENCE = 1_000  # characters


class Contrast(Record):
    """One named behavior, by examples of it or by a sentence that asks for it."""

    name: str = Field(min_length=1, description="what the analyst calls it")
    examples: str = Field("", description="file of examples, JSONL or CSV: prompt, shows, lacks")
    sentence: str = Field("", description="system prompt that asks for the behavior")
    opposite: str = Field("", description="system prompt of the other side; empty: none")
    flag: str = Field("", description="sentence: judge's flag that tells which completions to keep")
    group: str = Field("", description="sentence: group of prompts; empty: all plain prompts")
    description: str = Field("", description="one sentence for people")

    @model_validator(mode="after")
    def check_sides(self) -> Self:
        """Examples or a sentence, not both."""
        check_contrast(self.examples, self.sentence)
        if self.examples and (self.opposite or self.flag):
            raise ValueError("opposite and flag belong to a sentence, not to examples")
        if self.opposite:
            check_contrast(None, self.opposite)
        return self

    def source(self) -> str:
        """Where its completions come from, in words."""
        if self.examples:
            return f"By the examples in {Path(self.examples).name}"
        prompts = f"the {self.group} prompts" if self.group else "the prompts"
        against = f", against “{self.opposite}”" if self.opposite else ""
        kept = f"; kept where the judge's flag {self.flag} says so" if self.flag else ""
        return (
            f"What the reference writes to {prompts} when asked: “{self.sentence}”{against}{kept}"
        )

    def behavior(self) -> Behavior:
        """What a ranking reads: the flag of the contrast step's completions."""
        return Behavior(name=self.name, flag=SHOWS, group=CONTRAST, description=self.description)


def check_contrast(examples: str | None, sentence: str | None) -> None:
    """`ValueError` unless there is a file of examples or a sentence of a usable length."""
    if bool(examples) == bool(sentence and sentence.strip()):
        raise ValueError("give examples (a file) or a sentence that is not empty, and not both")
    if sentence and len(sentence) > LONGEST_SENTENCE:
        raise ValueError(
            f"the sentence has {len(sentence):,} characters; at most {LONGEST_SENTENCE:,} are "
            "read: say it in one or two sentences"
        )


class ContrastSpec(Spec):
    """Collect completions that show a behavior and others that do not, without a judge.

    They are examples from a file, or what the reference writes with and without a sentence as
    system prompt, or with its opposite. With a `flag`, only completions that show it are kept with
    the sentence, and only those that do not without it. `rank` compares the two sides as it
    compares the completions of policy and reference.
    """

    later: ClassVar[frozenset[str]] = frozenset({"opposite", "flag", "judge"})

    step: ClassVar[str] = "contrast"
    resumable: ClassVar[bool] = True
    reference: Model = Field(description="model before DPO")
    examples: File | None = Field(None, description="examples, JSONL or CSV: prompt, shows, lacks")
    sentence: str | None = Field(None, description="system prompt that asks for the behavior")
    opposite: str | None = Field(None, description="system prompt of the other side")
    flag: str | None = Field(None, description="sentence: judge's flag that completions must show")
    judge: Judge | None = Field(None, description="flag: world or judge file (TOML), or name")
    prompts: File | None = Field(None, description="sentence: prompts to complete")
    group: str | None = Field(None, description="sentence: group of prompts; default: all")
    max_prompts: PositiveInt = Field(500, description="prompts; of more, so many at random")
    rollouts: PositiveInt = Field(4, description="sentence: completions per prompt and side")
    temperature: float = Field(0.7, ge=0, description="sampling temperature; 0 is greedy")
    max_new_tokens: PositiveInt = Field(64, description="maximum tokens of a completion")
    seed: int = Field(0, description="random seed of the sampling, and of the choice of prompts")
    dtype: Dtype = DTYPE

    @model_validator(mode="before")
    @classmethod
    def drop_unread(cls, values: Any) -> Any:
        """Examples bring their own prompts; a judge is read for its flag alone."""
        if not isinstance(values, Mapping):
            return values
        unread = ("prompts", "group", "judge") if values.get("examples") else ()
        return {**values, **dict.fromkeys(unread if values.get("flag") else (*unread, "judge"))}

    @model_validator(mode="after")
    def check_sides(self) -> Self:
        """Examples, or a sentence with prompts."""
        check_contrast(self.examples, self.sentence)
        if self.sentence and not self.prompts:
            raise ValueError("a sentence needs prompts to complete: give a prompt file")
        if self.flag and not self.judge:
            raise ValueError("a flag needs the judge that gives it")
        return self


def split_contrasts(project: Any) -> Any:
    """The fields of a project, with behaviors by examples or a sentence in `contrasts`."""
    if not isinstance(project, Mapping) or not isinstance(project.get("behaviors"), list):
        return project
    kinds: dict[bool, list[Any]] = {False: [], True: []}
    for entry in project["behaviors"]:
        is_contrast = isinstance(entry, Mapping) and not entry.keys().isdisjoint(SOURCES)
        kinds[is_contrast].append(entry)
    contrasts = [*project.get("contrasts", ()), *kinds[True]]
    return {**project, "behaviors": kinds[False], "contrasts": contrasts}


def resolve_examples(entries: Any, folder: Path) -> Any:
    """The behaviors of a project file in `folder`, with absolute paths of examples."""
    if not isinstance(entries, list):
        return entries
    return [
        {**entry, "examples": str((folder / entry["examples"]).expanduser().resolve())}
        if isinstance(entry, Mapping) and isinstance(entry.get("examples"), str)
        else entry
        for entry in entries
    ]
