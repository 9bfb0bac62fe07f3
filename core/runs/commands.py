"""A spec as a shell command, and back: each field is an option.

One definition of every setting (name, type, unit, default) serves `--help`, the command that the
browser shows and the job that a button starts, so the three cannot disagree.
"""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from core.errors import UserError
from core.runs.store import Store
from core.specs.base import Spec, references
from core.specs.steps import is_run
from core.storage.parse import from_json

TYPES = {str: click.STRING, int: click.INT, float: click.FLOAT}


def command(spec: Spec, store: Store) -> str:
    """The shell command that makes the same run."""
    return shlex.join(["pairtrace", *arguments(spec, store)])


def arguments(spec: Spec, store: Store) -> list[str]:
    """The words after `pairtrace`: every field that differs from its default."""
    words = ["--workspace", str(store.workspace), spec.step]
    for name, value in spec.model_dump(mode="json").items():
        if getattr(spec, name) != type(spec).model_fields[name].default:
            words += _option_words(name, value)
    return words


def options(spec_type: type[Spec]) -> list[click.Option]:
    """One command-line option per field, inputs first; default None, for the project to fill."""
    inputs, fields = references(spec_type), spec_type.model_fields
    return [_option(name, fields[name]) for name in sorted(fields, key=lambda n: n not in inputs)]


def build(spec_type: type[Spec], options: Mapping[str, Any], defaults: Mapping[str, Any]) -> Spec:
    """A spec from options; other fields come from `defaults`, then from the spec's own defaults.

    `UserError` names each option that is missing or wrong.
    """
    values = {name: _value(value) for name, value in options.items() if value is not None}
    kinds = {name: ref.kind for name, ref in references(spec_type).items()}
    for name in kinds.keys() & values.keys():
        if not is_run(values[name]) and (kinds[name] != "judge" or Path(values[name]).suffix):
            values[name] = str(Path(values[name]).expanduser().resolve())
    try:
        return spec_type.model_validate({**defaults, **values})
    except ValidationError as error:
        problems = "; ".join(
            f"--{'.'.join(map(str, e['loc'])).replace('_', '-')}: "
            + e["msg"].removeprefix("Value error, ")
            for e in error.errors()
        )
        raise UserError(f"pairtrace {spec_type.step}: {problems}") from error


def _option(name: str, field: FieldInfo) -> click.Option:
    flag = "--" + name.replace("_", "-")
    text = field.description or ""
    if not isinstance(field.default, tuple | None | type(PydanticUndefined)):
        text += f" [default: {field.default}]"
    if field.annotation is bool:
        return click.Option([f"{flag}/--no-{flag[2:]}"], default=None, help=text)
    return click.Option([flag], type=_type(field.annotation), default=None, help=text)


def _type(annotation: Any) -> click.ParamType:
    if get_origin(annotation) is Literal:
        return click.Choice([str(choice) for choice in get_args(annotation)])
    types = [TYPES[part] for part in (annotation, *get_args(annotation)) if part in TYPES]
    return types[0] if types and get_origin(annotation) is not tuple else click.STRING


def _value(value: Any) -> Any:
    """The value of an option: records and lists are JSON."""
    if not isinstance(value, str) or not value.startswith(("[", "{")):
        return value
    try:
        return from_json(value)
    except ValueError as error:
        raise UserError(f"{value[:200]!r} starts like JSON but is invalid: {error}") from error


def _option_words(name: str, value: Any) -> list[str]:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return [f"--{flag}", text]
