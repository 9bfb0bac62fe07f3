"""Workspaces that the browser app offers, drafts of projects, and what people chose last.

`pairtrace app FOLDER …` starts on several. What its owner opened is remembered in the folder for
settings (`recent.json`), and offered only where no one but who is at this machine is served: a
visitor never reaches a workspace that the owner of the server did not name for this server.

A draft, what somebody filled in on Set up, is a file of the workspace (`DRAFT`) until the project
is saved: one per workspace, whoever comes back to it. Choices, such as the number of seeds or the
step of the tour, are a file too (`CHOICES`), by person.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from filelock import FileLock

from core import environment
from core.errors import UserError
from core.specs.project import FILE
from core.storage.atomic import write_atomic
from core.storage.parse import from_json, json_file

MOST = 12  # workspaces that are remembered
DRAFT = Path("inputs", "draft.json")
CHOICES = Path("inputs", "choices.json")


def offered(*, alone: bool) -> dict[str, Path]:
    """The workspaces of this app by name, the first being where it starts.

    `alone`: only who is at this machine is served. Earlier workspaces without a project, or gone,
    are left out.
    """
    folders = environment.workspaces()
    if alone:
        folders += [folder for folder in remembered() if (folder / FILE).is_file()]
    folders = list(dict.fromkeys(folders))
    names = [folder.name for folder in folders]
    return {
        folder.name if names.count(folder.name) == 1 else str(folder): folder for folder in folders
    }


def remember(folders: Sequence[Path]) -> None:
    """Put workspaces first in the list of recent ones."""
    latest = list(dict.fromkeys([*folders, *remembered()]))[:MOST]
    write_atomic(_file(), json.dumps([str(folder) for folder in latest], indent=1))


def remembered() -> Iterable[Path]:
    """Recent workspaces, the latest first; none where the list is missing or no list of texts."""
    if not _file().is_file():
        return []
    try:
        content = from_json(_file().read_text(encoding="utf-8"))
    except ValueError:  # not ours to repair: it is written again at the next start
        return []
    texts = content if isinstance(content, list) else []
    return [Path(text) for text in texts if isinstance(text, str)]


def read_draft(workspace: Path) -> dict[str, Any]:
    """The values of an unsaved project's fields by key; `UserError` where the file has none."""
    path = workspace / DRAFT
    content = json_file(path) if path.is_file() else {}
    if not isinstance(content, dict):
        raise UserError(f"{path}: no draft of a project. Delete this file.")
    return content


def write_draft(workspace: Path, values: dict[str, Any]) -> None:
    """Keep the values of an unsaved project's fields; none: forget those that were kept."""
    if values:
        write_atomic(workspace / DRAFT, json.dumps(values, indent=1))
    else:
        (workspace / DRAFT).unlink(missing_ok=True)


def read_choices(workspace: Path, who: str) -> dict[str, Any]:
    """What somebody chose last on the pages, by key; {} where no file can be read."""
    chosen = _choices(workspace).get(who, {})
    return chosen if isinstance(chosen, dict) else {}


def write_choice(workspace: Path, who: str, key: str, value: Any) -> None:
    """Keep one choice of somebody, beside all others."""
    path = workspace / CHOICES
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        chosen = read_choices(workspace, who) | {key: value}
        write_atomic(path, json.dumps(_choices(workspace) | {who: chosen}, indent=1))


def _choices(workspace: Path) -> dict[str, Any]:
    path = workspace / CHOICES
    if not path.is_file():
        return {}
    try:
        content = from_json(path.read_text(encoding="utf-8"))
    except ValueError:  # only a convenience: it is written again at the next choice
        return {}
    return content if isinstance(content, dict) else {}


def _file() -> Path:
    return Path(click.get_app_dir("pairtrace")) / "recent.json"
