"""What every spec is: a frozen record that names its inputs, and an identity made of their content.

A spec names its inputs by reference: a file, a model folder, or the id of an earlier run. Its
identity replaces every reference by the content behind it, so that the same work gets the same
run id wherever the files lie. The steps' own records are in core.specs.steps.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict

RefKind = Literal["file", "judge", "model", "pairs", "run"]


@dataclass(frozen=True)
class Ref:
    """Marks a field that names an input rather than being a knob."""

    kind: RefKind


File = Annotated[str, Ref("file")]  # a path
Judge = Annotated[str, Ref("judge")]  # a world file, a judge file, or the name of a built-in judge
Model = Annotated[str, Ref("model")]  # a model folder, or a train run's id
Pairs = Annotated[str, Ref("pairs")]  # a pairs file, or an edit run's id
Run = Annotated[str, Ref("run")]  # a run's id


class Spec(BaseModel):
    """Common to every step. Subclasses say what they read, then their knobs."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    step: ClassVar[str]
    resumable: ClassVar[bool] = False  # may pick up a part that an earlier attempt left
    later: ClassVar[frozenset[str]] = frozenset()  # fields that earlier versions did not have
    uses_device: ClassVar[bool] = True  # queues for the accelerator (or for the CPU's cores)
    distributed: ClassVar[bool] = False  # several processes may make one run together


def references(spec: Spec | type[Spec]) -> dict[str, Ref]:
    """The fields of a spec that name an input, with what kind of input each is."""
    kind = spec if isinstance(spec, type) else type(spec)
    return {
        name: ref
        for name, field in kind.model_fields.items()
        for ref in (*field.metadata, *_optional_metadata(field.annotation))
        if isinstance(ref, Ref)
    }


def _optional_metadata(annotation: Any) -> list[Any]:
    """Metadata of X in `X | None`."""
    return [mark for part in get_args(annotation) for mark in getattr(part, "__metadata__", ())]


def identity(spec: Spec, contents: Mapping[str, str]) -> str:
    """Sixteen hex digits that name the work: the knobs, and the content behind each reference.

    `contents` maps the name of every reference field to a fingerprint of what it refers to. A field
    that came later leaves no trace at its default, so that earlier runs keep their names.
    """
    known = spec.model_dump(mode="json") | dict(contents)
    for name in spec.later:
        if getattr(spec, name) == type(spec).model_fields[name].default:
            del known[name]
    text = json.dumps([type(spec).step, known], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
