"""What one investigation is about: `project.toml` in the workspace.

Names the two models, the pairs, the prompts, the judge and the behaviors, and the knobs that
differ from the specs' defaults. It turns these into specs; it holds no results.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import Field, TypeAdapter, ValidationError

from core.environment import DEVICES
from core.errors import UserError, first_problem
from core.models.folder import ModelFolder
from core.specs.base import Record, Spec
from core.specs.behaviors import Behavior
from core.specs.steps import (
    STEPS,
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


class Project(Record):
    """Paths are absolute once loaded. `knobs` holds, per step, what differs from the defaults."""

    name: str
    reference: str = Field(description="model folder before DPO")
    policy: str = Field(description="model folder after DPO")
    pairs: str = Field(description="preference pairs: a file, or a convert run")
    prompts: str = Field(description="prompts that may show a behavior, JSONL")
    heldout: str = Field(description="held-out prompts for evaluation, JSONL")
    judge: str = Field(description="world file or judge file (TOML), or 'refusal'")
    device: str = Field("auto", pattern=f"^({DEVICES})$", description="where models are computed")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="arithmetic of every step that does not name its own"
    )
    behaviors: tuple[Behavior, ...] = Field(min_length=1)
    knobs: dict[str, dict[str, Any]] = Field(default_factory=dict)

    def knobs_of(self, step: str) -> dict[str, Any]:
        """What differs from a step's defaults, the project's arithmetic included."""
        own = {ARITHMETIC[step]: self.dtype} if step in ARITHMETIC and self.dtype != "auto" else {}
        return own | self.knobs.get(step, {})

    def behavior(self, name: str) -> Behavior:
        """The behavior of that name."""
        for behavior in self.behaviors:
            if behavior.name == name:
                return behavior
        known = ", ".join(repr(behavior.name) for behavior in self.behaviors)
        raise UserError(f"{name!r} is not a behavior of this project. Known: {known}.")

    def generate(self) -> GenerateSpec:
        """What lets both models complete the prompts."""
        return GenerateSpec(
            reference=self.reference,
            policy=self.policy,
            prompts=self.prompts,
            judge=self.judge,
            **self.knobs_of("generate"),
        )

    def index(self) -> IndexSpec:
        """What turns every pair into a vector, read by the reference."""
        return IndexSpec(model=self.reference, pairs=self.pairs, **self.knobs_of("index"))

    def rank(self, generate: str, index: str, behavior: Behavior) -> RankSpec:
        """What orders the pairs for one behavior; `generate` and `index` are run ids."""
        return RankSpec(generate=generate, index=index, behavior=behavior, **self.knobs_of("rank"))

    def discover(self, generate: str, index: str) -> DiscoverSpec:
        """What maps and clusters the pairs; `generate` and `index` are run ids."""
        return DiscoverSpec(generate=generate, index=index, **self.knobs_of("discover"))

    def train(self, pairs: str, seed: int) -> TrainSpec:
        """One DPO training on these pairs: a path, or the id of an edit run."""
        knobs = {**self.knobs_of("train"), "seed": seed}
        return TrainSpec(reference=self.reference, pairs=pairs, **knobs)

    def evaluate(self, model: str) -> EvaluateSpec:
        """What measures a model on the held-out prompts."""
        return EvaluateSpec(
            model=model,
            prompts=self.heldout,
            judge=self.judge,
            behaviors=self.behaviors,
            **self.knobs_of("evaluate"),
        )

    def defaults(self, step: str) -> dict[str, Any]:
        """What the project knows of a step's fields, for the command line to fill in."""
        known = {"model": self.reference, "behaviors": self.behaviors} | {
            name: getattr(self, name) for name in PATHS
        }
        if step == "evaluate":
            known["prompts"] = self.heldout
        fields = STEPS[step].model_fields
        named = {name: value for name, value in known.items() if name in fields}
        return named | self.knobs_of(step)


def device(folder: Path) -> str:
    """Where the project of a workspace wants its models; auto without a project."""
    return load(folder).device if (folder / FILE).exists() else "auto"


def load(folder: Path) -> Project:
    """Read `project.toml` of a workspace or of an organism; relative paths start at the file."""
    path = folder / FILE
    if not path.is_file():
        raise UserError(f"{path}: no project here. Run `pairtrace init` or `pairtrace demo` first.")
    content = toml_file(path)
    knobs = {step: content.pop(step) for step in list(content) if step in STEPS}
    for name in PATHS:
        if isinstance(content.get(name), str) and not _is_name(content[name]):
            content[name] = _resolved(path, name, folder / content[name])
    try:
        project = Project(**content, knobs=knobs)
        _check_knobs(path, project)
    except ValidationError as error:
        raise UserError(
            f"{path}: {first_problem(error)}. Correct it, or write it again with `pairtrace init`."
        ) from error
    return project


def from_options(given: Mapping[str, str | None]) -> Project:
    """A project from command-line options; behaviors are a JSON list.

    Where the policy is an adapter and no reference is given, the reference is the adapter's base.
    """
    content: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    for name in PATHS:
        if name in content and not _is_name(content[name]):
            content[name] = str(Path(content[name]).expanduser().resolve())
    policy = ModelFolder(Path(content.get("policy", "")))
    if "reference" not in content and policy.is_adapter:
        content["reference"] = str(policy.base.path)
    try:
        content["behaviors"] = from_json(content.get("behaviors", "[]"))
    except ValueError as error:
        raise UserError(f"--behaviors is not JSON: {error}") from error
    try:
        return Project(**content)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"--{first['loc'][0]}: {first['msg']}") from error


def save(project: Project, folder: Path) -> Path:
    """Write `project.toml` whole."""
    content = project.model_dump(mode="json", exclude={"knobs"}) | project.knobs
    write_atomic(folder / FILE, tomli_w.dumps(content))
    return folder / FILE


def _resolved(path: Path, name: str, place: Path) -> str:
    try:
        return str(place.resolve())
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{path}: {name}: not a path ({error}).") from error


def _is_name(reference: str) -> bool:
    """A run, or a judge that is built in, rather than a path."""
    return reference == "refusal" or is_run(reference)


def _check_knobs(path: Path, project: Project) -> None:
    """Refuse a knob that its step does not have, or cannot have so, before anything runs."""
    for step, knobs in project.knobs.items():
        unknown = knobs.keys() - STEPS[step].model_fields.keys()
        if unknown:
            allowed = ", ".join(_knobs(STEPS[step]))
            raise UserError(f"{path}: [{step}] has no knob {sorted(unknown)}. It has: {allowed}.")
        for name, value in knobs.items():
            _check_knob(path, step, name, value)


def _check_knob(path: Path, step: str, name: str, value: Any) -> None:
    field = STEPS[step].model_fields[name]
    kind: Any = Annotated[field.annotation, field]
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise UserError(f"{path}: [{step}] {name}: {error.errors()[0]['msg']}.") from error


def _knobs(spec: type[Spec]) -> list[str]:
    return [name for name, field in spec.model_fields.items() if not field.is_required()]
