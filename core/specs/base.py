"""Base classes of the records: `Record`, `Spec` with the identity of a run, and `Sampled`.

A spec names its inputs by reference: a file, a model folder, or the id of an earlier run. Its
identity replaces every reference by the content behind it, so the same work gets the same run id
wherever the files are. The specs of the steps are in core.specs.steps and,
of contrasts, core.specs.behaviors.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    TypeAdapter,
    ValidationError,
)

from core.environment import ENDPOINT_KEY
from core.models.api.url_guard import checked

RefKind = Literal["file", "judge", "model", "pairs", "run"]


@dataclass(frozen=True)
class Ref:
    """Marks a field that names an input, not a setting."""

    kind: RefKind


File = Annotated[str, Ref("file")]  # a path
Judge = Annotated[str, Ref("judge")]  # a world file, a judge file, or the name of a built-in judge
Model = Annotated[str, Ref("model")]  # a model folder, or a train run's id
Pairs = Annotated[str, Ref("pairs")]  # a pairs file, or an edit run's id
Run = Annotated[str, Ref("run")]  # a run's id

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
DTYPE: Any = Field(
    "auto", description="arithmetic; auto: bfloat16 on a GPU, float32 on a CPU; float16: GPUs only"
)


def _checked(url: str) -> str:
    return checked(url, ENDPOINT_KEY) if url else url


Url = Annotated[str, AfterValidator(_checked)]  # without a key: specs are stored and shown


class Record(BaseModel):
    """An immutable record that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Spec(Record):
    """What one step is asked to do: its inputs, then its settings."""

    model_config = ConfigDict(hide_input_in_errors=True)
    step: ClassVar[str]
    resumable: ClassVar[bool] = False  # continues from what an earlier attempt left
    later: ClassVar[frozenset[str]] = frozenset()  # fields that earlier versions did not have
    places: ClassVar[frozenset[str]] = frozenset()  # where and how fast, not what: in no run's id
    uses_device: ClassVar[bool] = True  # queues for the accelerator (or for the CPU's cores)
    distributed: ClassVar[bool] = False  # several processes may make one run together

    def is_brief(self) -> bool:
        """Whether it takes seconds, for which somebody waits: what is long can be resumed."""
        return not self.resumable

    def needs_device(self) -> bool:
        """Whether this run of the step queues for the device."""
        return self.uses_device

    def shares_cpu(self) -> bool:
        """Whether it takes no turn on a CPU: it is of one pair, and done in no time."""
        return len(getattr(self, "uids", ())) == 1


class Sampled(Spec):
    """A step that samples completions, of models that are loaded here or served elsewhere."""

    later: ClassVar[frozenset[str]] = frozenset({"dtype", "sampler", "template"})
    places: ClassVar[frozenset[str]] = frozenset({"url", "concurrency", "dollars_per_hour"})
    temperature: float = Field(0.7, ge=0, description="sampling temperature; 0 is greedy")
    max_new_tokens: PositiveInt = Field(64, description="maximum tokens of a completion")
    seed: int = Field(0, description="random seed of the sampling")
    dtype: Dtype = DTYPE
    sampler: Literal["hf", "openai"] = Field(
        "hf", description="hf: load the model here; openai: ask a server for completions (--url)"
    )
    url: Url = Field("", description="openai: the model's server, such as http://host:8000/v1")
    template: Literal["ours", "theirs"] = Field(
        "ours", description="openai: who applies the chat template, this program or the server"
    )
    concurrency: PositiveInt = Field(64, description="openai: requests under way at each server")
    dollars_per_hour: float = Field(0, ge=0, description="openai: price of the servers, for costs")


def references(spec: Spec | type[Spec]) -> dict[str, Ref]:
    """The fields of a spec that name an input, with the kind of input."""
    spec_type = spec if isinstance(spec, type) else type(spec)
    return {
        name: ref
        for name, field in spec_type.model_fields.items()
        for ref in (*field.metadata, *_optional_metadata(field.annotation))
        if isinstance(ref, Ref)
    }


def _optional_metadata(annotation: Any) -> list[Any]:
    """Metadata of X in `X | None`."""
    return [mark for part in get_args(annotation) for mark in getattr(part, "__metadata__", ())]


def identity(spec: Spec, contents: Mapping[str, str]) -> str:
    """Sixteen hex digits of SHA-256 over the settings and the content behind each reference.

    `contents` maps every reference field to a fingerprint of what it refers to. A field in `later`
    is left out at its default, so that runs of earlier versions keep their ids; one in `places`
    always, so that a run goes on at another server.
    """
    values = spec.model_dump(mode="json", exclude={*spec.places}) | dict(contents)
    for name in spec.later:
        if getattr(spec, name) == type(spec).model_fields[name].default:
            del values[name]
    text = json.dumps([type(spec).step, values], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def setting_problem(spec_type: type[Spec], settings: Mapping[str, Any]) -> str:
    """Why settings are none that a step has, or of a wrong value; empty where all are right."""
    fields = spec_type.model_fields
    if unknown := sorted(settings.keys() - fields.keys()):
        names = ", ".join(name for name, field in fields.items() if not field.is_required())
        return f"has no setting {unknown}. It has: {names}"
    for name, value in settings.items():
        kind: Any = Annotated[fields[name].annotation, fields[name]]
        try:
            TypeAdapter(kind).validate_python(value)
        except ValidationError as error:
            return f"{name}: {error.errors()[0]['msg']}"
    return ""
