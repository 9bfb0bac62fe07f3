"""The project: one investigation's inputs, behaviors and settings, in `project.toml`.

Names the two models, the pairs, the prompts, the judge and the behaviors, and the settings that
differ from the specs' defaults. Turns these into specs; contains no results.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import Field, TypeAdapter, ValidationError, ValidationInfo, field_validator

from core.data.conditions import CONDITIONS, Condition
from core.environment import DEVICES
from core.errors import UserError, first_problem
from core.models.folder import ModelFolder
from core.specs.base import Record
from core.specs.behaviors import NO_JUDGE, Behavior, check_conditions
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
ARITHMETIC = {"generate": "dtype", "index": "dtype", "train": "precision", "evaluate": "dtype"}
PATHS = ("reference", "policy", "pairs", "prompts", "heldout", "judge")

NEEDS_JUDGE = (
    "this project has no behavior, since it has no judge. Map and clusters need none. To rank the "
    "pairs for a behavior, name a judge and behaviors in project.toml (docs/judges.md)."
)


class Project(Record):
    """One investigation. Paths are absolute once loaded."""

    name: str
    reference: str = Field(description="model folder before DPO")
    policy: str = Field(description="model folder after DPO")
    pairs: str = Field(description="preference pairs: a file, or a convert run")
    prompts: str = Field(description="prompts that may show a behavior, JSONL")
    heldout: str = Field(description="held-out prompts for evaluation, JSONL")
    judge: str = Field(description="world file or judge file (TOML), 'refusal', or 'none'")
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

    @field_validator("behaviors")
    @classmethod
    def _are_some(
        cls, behaviors: tuple[Behavior, ...], info: ValidationInfo
    ) -> tuple[Behavior, ...]:
        if not behaviors and info.data.get("judge") != NO_JUDGE:
            raise ValueError(f"name at least one, or judge = {NO_JUDGE!r}")
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
        for behavior in self.behaviors:
            if behavior.name == name:
                return behavior
        if not self.behaviors:
            raise UserError(f"{name!r}: {NEEDS_JUDGE}")
        names = ", ".join(repr(behavior.name) for behavior in self.behaviors)
        raise UserError(f"{name!r} is not a behavior of this project. Known: {names}.")

    def generate(self) -> GenerateSpec:
        """The spec that samples completions of both models."""
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
            raise UserError(f"Nothing to measure: {NEEDS_JUDGE}")
        return EvaluateSpec(
            model=model,
            prompts=self.heldout,
            judge=self.judge,
            behaviors=self.behaviors,
            conditions=self.sent,
            **self.overrides_of("evaluate"),
        )

    def defaults(self, step: str) -> dict[str, Any]:
        """The project's values for a step's fields, as defaults of the command line."""
        values = {name: getattr(self, name) for name in (*PATHS, "behaviors")}
        values |= {"model": self.reference, "conditions": self.sent}
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
        if isinstance(content.get(name), str) and not _is_name(content[name]):
            content[name] = _resolved(path, name, folder / content[name])
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
    try:
        return Project(**content)
    except ValidationError as error:
        raise UserError(f"--{first_problem(error)}.") from error


def save(project: Project, folder: Path) -> Path:
    """Write `project.toml` atomically."""
    content = project.model_dump(mode="json", exclude={"overrides"}) | project.overrides
    if project.conditions == CONDITIONS:
        del content["conditions"]
    write_atomic(folder / FILE, tomli_w.dumps(content))
    return folder / FILE


def _resolved(path: Path, name: str, place: Path) -> str:
    try:
        return str(place.resolve())
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{path}: {name}: not a path ({error}).") from error


def _is_name(reference: str) -> bool:
    """Whether a reference is a run or a built-in judge, not a path."""
    return reference in ("refusal", NO_JUDGE) or is_run(reference)


def _check_overrides(path: Path, project: Project) -> None:
    """`UserError` for a setting that its step does not have, or of a wrong value."""
    for step, settings in project.overrides.items():
        fields = STEPS[step].model_fields
        unknown = sorted(settings.keys() - fields.keys())
        if unknown:
            names = ", ".join(name for name, field in fields.items() if not field.is_required())
            raise UserError(f"{path}: [{step}] has no setting {unknown}. It has: {names}.")
        for name, value in settings.items():
            kind: Any = Annotated[fields[name].annotation, fields[name]]
            try:
                TypeAdapter(kind).validate_python(value)
            except ValidationError as error:
                message = error.errors()[0]["msg"]
                raise UserError(f"{path}: [{step}] {name}: {message}.") from error
