"""JSON and TOML from anybody, read within bounds.

Every problem is one kind of error: `ValueError` for a text, `UserError` that names the file for a
file. Nesting deeper than `MAX_DEPTH` is one, because it would end in a `RecursionError` later. NaN
and Infinity, which Python writes and JSON does not know, are read as null.
"""

import json
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from core.errors import UserError

MAX_DEPTH = 64
MAX_BYTES = 16 << 20  # of a settings file


def from_json(text: str) -> Any:
    """The value of a JSON text. `ValueError` where it is none, or nests too deeply."""
    try:
        value = json.loads(text, parse_constant=lambda _: None)
    except RecursionError as error:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels") from error
    refuse_depth(value)
    return value


def refuse_depth(value: Any) -> None:
    """`ValueError` where lists and objects nest more than `MAX_DEPTH` deep."""
    level = _inner([[value]])
    depth = 0
    while level and depth < MAX_DEPTH:
        level = _inner(level)
        depth += 1
    if level:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")


def json_file(path: Path) -> Any:
    """The value in a JSON file. `UserError` names the file."""
    return _of_file(path, "JSON", from_json)


def toml_file(path: Path) -> dict[str, Any]:
    """The table in a TOML file. `UserError` names the file."""
    return _of_file(path, "TOML", _from_toml)


def _from_toml(text: str) -> dict[str, Any]:
    try:
        table = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels") from error
    refuse_depth(table)
    return table


def _of_file(path: Path, name: str, parse: Callable[[str], Any]) -> Any:
    if not path.is_file():
        raise UserError(f"{path}: no such file.")
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path}: larger than {MAX_BYTES >> 20} MB, so not a settings file.")
    try:
        return parse(path.read_text(encoding="utf-8"))
    except ValueError as error:  # UnicodeDecodeError is one
        raise UserError(
            f"{path}: not readable {name} ({error}). Correct it, or put a copy of it back."
        ) from error


def _inner(values: Iterable[Any]) -> list[Any]:
    """The containers directly inside some containers."""
    inner: list[Any] = []
    for value in values:
        items = value.values() if isinstance(value, dict) else value
        inner += [item for item in items if isinstance(item, dict | list) and item]
    return inner
