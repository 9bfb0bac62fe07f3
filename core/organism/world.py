"""World files (TOML): schema, checks and reading.

A world file is all that an organism is made from: topics (verbs and objects, in groups), the
sentences about them, the formatting instructions that may distract from them, the sources of
preference pairs with their rules, and the settings of training. Another file gives another
organism. This module writes no sentence (core.organism.grammar).
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, ValidationError, model_validator

from core.errors import UserError
from core.specs.base import Record
from core.specs.behaviors import Behavior
from core.storage.parse import toml_file

SLOT = re.compile(r"\{(\w+)\}")
Share = Annotated[float, Field(ge=0, le=1)]
Weights = dict[str, Annotated[float, Field(gt=0)]]
Phrase = Annotated[str, Field(pattern=r"(?s)^\S(.*\S)?$", description="no space at either end")]
Phrases = Annotated[tuple[Phrase, ...], Field(min_length=1)]


class Family(Record):
    """Verbs that go with any of these objects; no verbs where the requests need none."""

    verbs: tuple[Phrase, ...] = ()
    objects: Phrases


class Group(Record):
    """Topics that should be answered in the same way, and how people ask about them."""

    name: str
    style: str = Field(description="the style that completions are written in")
    requests: Phrases
    families: tuple[Family, ...] = Field(min_length=1)

    @property
    def slots(self) -> set[str]:
        """Slots that requests may contain: verbs only where every family has some."""
        return {"verb", "object"} if all(f.verbs for f in self.families) else {"object"}


class Style(Record):
    """How a compliant completion is worded: a plain template, filled with a lead and points."""

    name: str
    leads: Phrases
    points: Phrases
    plain: Phrases


class Format(Record):
    """A formatting instruction (the distractor of a prompt), and templates that follow it."""

    name: str
    distractors: Phrases
    templates: Phrases


class Shape(Record):
    """What a completion does; the rates default to the world's."""

    act: Literal["comply", "refuse"]
    follow: Share = Field(1.0, description="share that follows the format, where one is asked")
    unasked: Share = Field(0.0, description="share in a format that nobody asked for")
    opener: Share | None = Field(None, description="share that opens with flattery")
    elaborate: Share | None = Field(None, description="share that goes on after the point")
    topic: Literal["same", "other"] = Field("same", description="other: misses the question")


class Rule(Record):
    """Pairs of one pattern. `planted`/`decoy`: the behavior that they teach/only resemble."""

    name: str
    group: str
    pairs: PositiveInt
    distractor: Share = 0.0
    chosen: Shape
    rejected: Shape
    planted: str | None = None
    decoy: str | None = None
    chosen_models: Weights = Field({})
    rejected_models: Weights = Field({})


class Source(Record):
    """One source of preference pairs. Generator models of a rule override those of its source."""

    name: str
    chosen_models: Weights = Field(min_length=1)
    rejected_models: Weights = Field(min_length=1)
    rules: tuple[Rule, ...] = Field(min_length=1)


class Lesson(Record):
    """A share of the SFT examples."""

    group: str
    weight: float = Field(gt=0)
    distractor: Share = 0.0
    shape: Shape


class PromptSet(Record):
    """How many prompts of a group are drawn, and whether each has a distractor."""

    group: str
    count: PositiveInt
    distractor: bool = False


class Rates(Record):
    """Default rates at which completions open with flattery or elaborate."""

    opener: Share
    sft_elaborate: Share
    chosen_elaborate: Share
    rejected_elaborate: Share
    label_noise: Share = Field(0.0, description="share of honest pairs with swapped labels")


class Sizes(Record):
    """The model, the SFT that makes the reference, and the splits."""

    blocks: PositiveInt = 4
    width: PositiveInt = 128
    heads: PositiveInt = 4
    mlp_width: PositiveInt = 384
    sft_examples: PositiveInt
    sft_epochs: PositiveInt = 1
    sft_batch: PositiveInt = 32
    sft_learning_rate: float = Field(2e-3, gt=0)
    pair_share: float = Field(1.0, gt=0, description="share of every rule's pairs to make")
    rollouts: PositiveInt = Field(4, description="completions per prompt of the measured rates")

    @model_validator(mode="after")
    def heads_divide_the_width(self) -> Self:
        """Refuse a width that the heads cannot share."""
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} is not a multiple of 2 × {self.heads} heads")
        return self


class Seeds(Record):
    """`build` draws the data and the reference; `training` are the DPO seeds measured."""

    build: NonNegativeInt = 0
    training: tuple[NonNegativeInt, ...] = (0, 1, 2)


class Split(Record):
    """Shares of every family's objects kept from the pairs, so that topics do not overlap."""

    prompts: float = Field(0.2, gt=0, lt=1)
    heldout: float = Field(0.25, gt=0, lt=1)


class World(Record):
    """One world: the content of a world file."""

    name: str
    description: str = ""
    openers: Phrases
    elaborations: Phrases
    refusals: Phrases
    seeds: Seeds = Seeds()
    split: Split = Split()
    rates: Rates
    sizes: Sizes
    fast: dict[str, float | int] = Field({}, description="sizes that --fast changes")
    groups: tuple[Group, ...] = Field(min_length=1)
    styles: tuple[Style, ...] = Field(min_length=1)
    formats: tuple[Format, ...] = ()
    sft: tuple[Lesson, ...] = Field(min_length=1)
    sources: tuple[Source, ...] = Field(min_length=1)
    prompts: tuple[PromptSet, ...] = Field(min_length=1)
    behaviors: tuple[Behavior, ...] = Field(min_length=1)
    overrides: dict[str, dict[str, Any]] = Field(
        {}, alias="knobs", description="settings per step, for project.toml"
    )

    @model_validator(mode="after")
    def names_refer_to_something(self) -> Self:
        """Refuse a name of a group, style or behavior that is not defined."""
        groups = {g.name for g in self.groups}
        styles = {s.name for s in self.styles}
        behaviors = {b.name for b in self.behaviors}
        for where, name, defined in [
            *((f"groups.{g.name}.style", g.style, styles) for g in self.groups),
            *((f"sft.{i}.group", x.group, groups) for i, x in enumerate(self.sft)),
            *((f"prompts.{i}.group", x.group, groups) for i, x in enumerate(self.prompts)),
            *((f"behaviors.{b.name}.group", b.group, groups) for b in self.behaviors),
            *((f"rules.{r.name}.group", r.group, groups) for r in self.rules),
            *((f"rules.{r.name}.planted", r.planted, behaviors) for r in self.rules if r.planted),
            *((f"rules.{r.name}.decoy", r.decoy, behaviors) for r in self.rules if r.decoy),
        ]:
            if name not in defined:
                raise ValueError(f"{where}: {name!r} is not one of {', '.join(sorted(defined))}")
        return self

    @model_validator(mode="after")
    def slots_can_be_filled(self) -> Self:
        """Refuse a template with an unknown slot."""
        topic, points = {"verb", "object"}, {"lead", "point"}
        fillings = [
            *((f"groups.{g.name}.requests", g.requests, g.slots) for g in self.groups),
            *((f"styles.{s.name}.leads", s.leads, topic) for s in self.styles),
            *((f"styles.{s.name}.plain", s.plain, topic | points) for s in self.styles),
            *(
                (f"formats.{f.name}.templates", f.templates, {"lead", "point"})
                for f in self.formats
            ),
            ("refusals", self.refusals, topic),
        ]
        for where, templates, slots in fillings:
            for slot in (slot for template in templates for slot in SLOT.findall(template)):
                if slot.lower() not in slots:
                    allowed = ", ".join(sorted(slots))
                    raise ValueError(f"{where}: {{{slot}}} is not one of {allowed}")
        return self

    @model_validator(mode="after")
    def topics_belong_to_one_group(self) -> Self:
        """Refuse a verb and object that two groups share: no judge could tell them apart."""
        owner: dict[tuple[str, str], str] = {}
        for group in self.groups:
            for family in group.families:
                for topic in ((v, o) for v in family.verbs or ("",) for o in family.objects):
                    if owner.setdefault(topic, group.name) != group.name:
                        both = f"{owner[topic]} and {group.name}"
                        raise ValueError(f"groups: {' '.join(topic).strip()!r} is in {both}")
        return self

    @model_validator(mode="after")
    def distractors_have_a_format(self) -> Self:
        """Refuse rules that need a format in a world without any, and two rules of one name."""
        need_format = [
            r.name for r in self.rules if r.distractor or r.chosen.unasked or r.rejected.unasked
        ]
        if need_format and not self.formats:
            raise ValueError(f"formats: none, but rule {need_format[0]!r} needs one")
        names = [r.name for r in self.rules]
        if len(set(names)) < len(names):
            raise ValueError("sources: two rules have the same name")
        return self

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules of all sources."""
        return tuple(rule for source in self.sources for rule in source.rules)

    def made_fast(self) -> "World":
        """The same world, smaller: `fast` over `sizes`, and one training seed."""
        sizes = Sizes.model_validate({**self.sizes.model_dump(), **self.fast})
        seeds = Seeds(build=self.seeds.build, training=self.seeds.training[:1])
        return self.model_copy(update={"sizes": sizes, "seeds": seeds})


def read_world(path: Path | str) -> World:
    """Read and check a world file; `UserError` names the file and the key."""
    path = Path(path)
    table = toml_file(path)
    try:
        world = World.model_validate(table)
        world.made_fast()
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in error.errors())
        text = "; ".join(problem.removeprefix(": ") for problem in problems)
        raise UserError(f"{path}: {text}") from error
    return world
