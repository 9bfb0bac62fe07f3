"""The project: one investigation's inputs, behaviors and settings, in `project.toml`.

Names the two models, the pairs, the prompts, the judge and the behaviors, and the settings that
differ from the specs' defaults. Turns these into specs; contains no results.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ValidationInfo

from core.data.conditions import CONDITIONS, Condition
from core.environment import DEVICES
from core.errors import UserError, first_problem
from core.models.folder import ModelFolder
from core.specs.base import Record, setting_problem
from core.specs.behaviors import (
    NO_JUDGE,
    Behavior,
    Contrast,
    ContrastSpec,
    check_conditions,
    resolve_examples,
    split_contrasts,
)
from core.specs.steps import (
    STEPS,
    Conditions,
    DiscoverSpec,
    EvaluateSpec,
    GenerateSpec,
    IndexSpec,
    RankSpec,
    TrainSpec,
    is_run,
)
from core.storage.atomic import write_atomic
from core.storage.parse import from_json, toml_file

FILE = "project.toml"
ARITHMETIC = {"train": "precision"}  # the setting; of other steps with models it is `dtype`
ARITHMETIC |= dict.fromkeys(("generate", "contrast", "index", "evaluate"), "dtype")
SAMPLING = ("rollouts", "temperature", "max_new_tokens", "seed")  # of generate, for contrast too
PATHS = ("reference", "policy", "pairs", "prompts", "heldout", "judge")

NEEDS_JUDGE = (
    "this project has no behavior, since it has no judge. Map and clusters need none. To rank the "
    "pairs for a behavior, name a judge and behaviors in project.toml (docs/judges.md)."
)
NEEDS_FLAG = (
    "this project's behaviors are given by examples or a sentence, and a rate needs a judge's "
    "flag: name a judge, prompts and a behavior with a flag in project.toml (docs/judges.md)."
)


class Project(Record):
    """One investigation. Paths are absolute once loaded.

    With `contrasts` alone only reference and pairs are needed; steps that need more refuse.
    """

    name: str
    contrasts: tuple[Contrast, ...] = Field((), description="behaviors by examples or a sentence")
    reference: str = Field(description="model folder before DPO")
    policy: str = Field("", validate_default=True, description="model folder after DPO")
    pairs: str = Field(description="preference pairs: a file, or a convert run")
    prompts: str = Field("", validate_default=True, description="prompts that may show a behavior")
    heldout: str = Field("", validate_default=True, description="held-out prompts for evaluation")
    judge: str = Field("", validate_default=True, description="world or judge file (TOML), or name")
    device: str = Field("auto", pattern=f"^({DEVICES})$", description="device that models run on")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="arithmetic of every step that does not set its own"
    )
    conditions: Conditions = Field(
        CONDITIONS, description="what is sent of a prompt beside its plain text"
    )
    behaviors: tuple[Behavior, ...] = Field((), validate_default=True)
    overrides: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="per step: settings that differ from the defaults"
    )

    @model_validator(mode="before")
    @classmethod
    def _split_behaviors(cls, values: Any) -> Any:
        """Behaviors that are given by examples or a sentence are `contrasts`."""
        return split_contrasts(values)

    @field_validator("policy", "prompts", "heldout", "judge")
    @classmethod
    def _is_named(cls, value: str, info: ValidationInfo) -> str:
        if not value and not info.data.get("contrasts"):
            raise PydanticCustomError("missing", "Field required")
        return value or (NO_JUDGE if info.field_name == "judge" else "")

    @field_validator("behaviors")
    @classmethod
    def _are_some(
        cls, behaviors: tuple[Behavior, ...], info: ValidationInfo
    ) -> tuple[Behavior, ...]:
        contrasts = info.data.get("contrasts", ())
        if not (behaviors or contrasts) and info.data.get("judge") != NO_JUDGE:
            raise ValueError(f"name at least one, or judge = {NO_JUDGE!r}")
        missing = [name for name in PATHS if not info.data.get(name, " ")]
        if behaviors and missing:
            raise ValueError(f"{behaviors[0].name!r} is measured by a flag: name {missing[0]}, too")
        names = [behavior.name for behavior in (*behaviors, *contrasts)]
        if taken := sorted({name for name in names if names.count(name) > 1} if contrasts else ()):
            raise ValueError(f"two are named {taken[0]!r}: give each its own name")
        for behavior in behaviors:
            check_conditions(behavior, info.data.get("conditions", CONDITIONS))
        return behaviors

    @property
    def sent(self) -> tuple[Condition, ...]:
        """The conditions without their descriptions, which change no run."""
        return tuple(each.model_copy(update={"description": ""}) for each in self.conditions)

    def overrides_of(self, step: str) -> dict[str, Any]:
        """The settings of a step that differ from its defaults, the project's dtype included."""
        inherits = step in ARITHMETIC and self.dtype != "auto"
        return ({ARITHMETIC[step]: self.dtype} if inherits else {}) | self.overrides.get(step, {})

    def behavior(self, name: str) -> Behavior:
        """The behavior of that name."""
        behaviors = self.traceable()
        for behavior in behaviors:
            if behavior.name == name:
                return behavior
        if not behaviors:
            raise UserError(f"{name!r}: {NEEDS_JUDGE}")
        names = ", ".join(repr(behavior.name) for behavior in behaviors)
        raise UserError(f"{name!r} is not a behavior of this project. Known: {names}.")

    def traceable(self) -> list[Behavior]:
        """All behaviors; of a contrast, the one that its completions have."""
        return [*self.behaviors, *(contrast.behavior() for contrast in self.contrasts)]

    def contrast_named(self, name: str) -> Contrast | None:
        """The contrast of that name, if a behavior of that name is one."""
        return next((contrast for contrast in self.contrasts if contrast.name == name), None)

    def contrast(self, contrast: Contrast) -> ContrastSpec:
        """The spec that collects a contrast's completions, sampled as those of generate are."""
        if contrast.sentence and not self.prompts:
            raise UserError(f"behavior {contrast.name!r}: {_missing('prompts', 'a sentence')}")
        sampling = {k: v for k, v in self.overrides_of("generate").items() if k in SAMPLING}
        inputs = {"reference": self.reference, "prompts": self.prompts, "judge": self.judge}
        values = contrast.model_dump(exclude={"name", "description"}) | inputs | sampling
        settings = {name: value for name, value in values.items() if value != ""}
        return ContrastSpec(**(settings | self.overrides_of("contrast")))

    def generate(self) -> GenerateSpec:
        """The spec that samples completions of both models; `UserError` without a policy."""
        for name in ("policy", "prompts"):
            if not getattr(self, name):
                raise UserError(_missing(name, "a step that compares two models' completions"))
        return GenerateSpec(
            reference=self.reference,
            policy=self.policy,
            prompts=self.prompts,
            judge=self.judge,
            conditions=self.sent,
            **self.overrides_of("generate"),
        )

    def index(self) -> IndexSpec:
        """The spec that computes the pairs' vectors with the reference."""
        return IndexSpec(model=self.reference, pairs=self.pairs, **self.overrides_of("index"))

    def rank(self, generate: str, index: str, behavior: Behavior) -> RankSpec:
        """The spec that ranks the pairs for one behavior; `generate` and `index` are run ids."""
        return RankSpec(
            generate=generate, index=index, behavior=behavior, **self.overrides_of("rank")
        )

    def discover(self, generate: str, index: str) -> DiscoverSpec:
        """The spec that maps and clusters the pairs; `generate` and `index` are run ids."""
        return DiscoverSpec(generate=generate, index=index, **self.overrides_of("discover"))

    def train(self, pairs: str, seed: int) -> TrainSpec:
        """The spec of a DPO training on some pairs: a path, or the id of an edit run."""
        settings = {**self.overrides_of("train"), "seed": seed}
        return TrainSpec(reference=self.reference, pairs=pairs, **settings)

    def evaluate(self, model: str) -> EvaluateSpec:
        """The spec that measures a model on the held-out prompts; `UserError` without behaviors."""
        if not self.behaviors:
            raise UserError(f"Nothing to measure: {self.unmeasured()}")
        return EvaluateSpec(
            model=model,
            prompts=self.heldout,
            judge=self.judge,
            behaviors=self.behaviors,
            conditions=self.sent,
            **self.overrides_of("evaluate"),
        )

    def unmeasured(self) -> str:
        """Why a project without behaviors that a flag measures has no rates, and what to do."""
        return NEEDS_FLAG if self.contrasts else NEEDS_JUDGE

    def defaults(self, step: str) -> dict[str, Any]:
        """The project's values for a step's fields, as defaults of the command line."""
        values: dict[str, Any] = {name: getattr(self, name) or None for name in PATHS}
        values |= {"model": self.reference, "behaviors": self.behaviors, "conditions": self.sent}
        values = {name: value for name, value in values.items() if value is not None}
        if step == "evaluate":
            values["prompts"] = self.heldout
        fields = STEPS[step].model_fields
        inputs = {name: value for name, value in values.items() if name in fields}
        return inputs | self.overrides_of(step)


def device(folder: Path) -> str:
    """The device that a workspace's project names; auto without a project."""
    return load(folder).device if (folder / FILE).exists() else "auto"


def load(folder: Path) -> Project:
    """Read `project.toml` of a workspace or an organism; paths are relative to the file."""
    path = folder / FILE
    if not path.is_file():
        raise UserError(f"{path}: no project here. Run `pairtrace init` or `pairtrace demo` first.")
    content = toml_file(path)
    overrides = {step: content.pop(step) for step in list(content) if step in STEPS}
    for name in PATHS:
        if isinstance(content.get(name), str) and content[name] and not _is_name(content[name]):
            content[name] = _resolved(path, name, folder / content[name])
    content["behaviors"] = resolve_examples(content.get("behaviors", []), folder)
    try:
        project = Project(**content, overrides=overrides)
        _check_overrides(path, project)
    except ValidationError as error:
        raise UserError(
            f"{path}: {first_problem(error)}. Correct it, or write it again with `pairtrace init`."
        ) from error
    return project


def from_options(options: Mapping[str, str | None]) -> Project:
    """A project from command-line options; behaviors and conditions are JSON lists.

    The default reference of a policy that is an adapter is the adapter's base.
    """
    content: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    for name in PATHS:
        if name in content and not _is_name(content[name]):
            content[name] = str(Path(content[name]).expanduser().resolve())
    policy = ModelFolder(Path(content.get("policy", "")))
    if "reference" not in content and policy.is_adapter:
        content["reference"] = str(policy.base.path)
    for name in content.keys() & {"behaviors", "conditions"}:
        try:
            content[name] = from_json(content[name])
        except ValueError as error:
            raise UserError(f"--{name} is not JSON: {error}") from error
    content["behaviors"] = resolve_examples(content.get("behaviors", []), Path())
    try:
        return Project(**content)
    except ValidationError as error:
        raise UserError(f"--{first_problem(error)}.") from error


def save(project: Project, folder: Path) -> Path:
    """Write `project.toml` atomically."""
    content = project.model_dump(mode="json", exclude={"overrides", "contrasts"})
    content = {name: value for name, value in content.items() if value != ""} | project.overrides
    if project.conditions == CONDITIONS:
        del content["conditions"]
    content["behaviors"] += [
        contrast.model_dump(mode="json", exclude_defaults=True) for contrast in project.contrasts
    ]
    write_atomic(folder / FILE, tomli_w.dumps(content))
    return folder / FILE


def _resolved(path: Path, name: str, place: Path) -> str:
    try:
        return str(place.resolve())
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{path}: {name}: not a path ({error}).") from error


def _missing(name: str, what: str) -> str:
    return f"{FILE} names no {name}, and {what} needs it: add it, or use Set up in the app."


def _is_name(reference: str) -> bool:
    """Whether a reference is a run or a built-in judge, not a path."""
    return reference in ("refusal", NO_JUDGE) or is_run(reference)


def _check_overrides(path: Path, project: Project) -> None:
    for step, settings in project.overrides.items():
        if problem := setting_problem(STEPS[step], settings):
            raise UserError(f"{path}: [{step}] {problem}.")
