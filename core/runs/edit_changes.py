"""Changes of the log that concern edits: rearranging the cart, saved versions, people's verdicts.

A cart is rearranged in one step, so that one undo takes it back. A saved edit is never overwritten:
saving under the same name again makes its next version. A verdict is what a person said of one
completion without having seen what the judge said. Replayed by `core.runs.labels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from core.intervention.recipes import Edit


class HasId(Protocol):
    """An entry of the cart."""

    @property
    def id(self) -> int: ...


T = TypeVar("T", bound=HasId)
FIRST_PUT = 1_000_000  # an entry that event e put in i-th is numbered FIRST_PUT · e + i


class _EditChange(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Put(_EditChange):
    """Take entries out of the cart and put edits in, in one step."""

    kind: Literal["put"] = "put"
    entries: tuple[int, ...] = ()
    edits: tuple[Edit, ...] = ()


class SaveEdit(_EditChange):
    """Keep edits under a name; the n-th time makes version n."""

    kind: Literal["save_edit"] = "save_edit"
    name: str = Field(min_length=1)
    edits: tuple[Edit, ...] = Field(min_length=1)


class Verdict(_EditChange):
    """Whether a completion shows a flag, as a person sees it; None: cannot be told."""

    kind: Literal["verdict"] = "verdict"
    run: str = Field(description="evaluate run")
    prompt_id: str
    condition: str
    rollout: int
    flag: str
    shown: bool | None


@dataclass(frozen=True)
class Version:
    """One version of a saved edit."""

    name: str
    number: int
    edits: tuple[Edit, ...]
    who: str
    time: float


class Completion(NamedTuple):
    """Names one judged completion and the flag in question."""

    run: str
    prompt_id: str
    condition: str
    rollout: int
    flag: str


class Said(NamedTuple):
    """A person's latest word on a completion."""

    shown: bool | None
    time: float


Verdicts = dict[tuple[Completion, str], Said]  # by completion and person


def replaced(cart: Sequence[T], gone: Sequence[int], put_in: Sequence[T]) -> tuple[T, ...]:
    """A cart in which entries stand in the place of the first of those that they replace."""
    places = [place for place, entry in enumerate(cart) if entry.id in gone]
    first = places[0] if places else len(cart)
    rest = [[e for e in part if e.id not in gone] for part in (cart[:first], cart[first:])]
    return (*rest[0], *put_in, *rest[1])


def with_version(
    versions: tuple[Version, ...], change: SaveEdit, who: str, time: float
) -> tuple[Version, ...]:
    """The saved versions and one more."""
    number = 1 + sum(version.name == change.name for version in versions)
    return (*versions, Version(change.name, number, change.edits, who, time))


def with_verdict(verdicts: Verdicts, change: Verdict, who: str, time: float) -> Verdicts:
    """The verdicts with this person's latest on that completion."""
    about = Completion(change.run, change.prompt_id, change.condition, change.rollout, change.flag)
    return {**verdicts, (about, who): Said(change.shown, time)}
