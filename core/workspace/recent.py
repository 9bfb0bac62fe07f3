"""Workspaces that the browser app offers, and drafts of projects that are not saved yet.

`pairtrace app FOLDER …` starts on several. What its owner opened is remembered in the folder for
settings (`recent.json`), and offered only where no one but who is at this machine is served: a
visitor never reaches a workspace that the owner of the server did not name for this server.

A draft, what somebody filled in on Set up, is a file of the workspace (`DRAFT`) until the project
is saved: one per workspace, whoever comes back to it.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from core import environment
from core.errors import UserError
from core.specs.project import FILE
from core.storage.atomic import write_atomic
from core.storage.parse import from_json, json_file

MOST = 12  # workspaces that are remembered
DRAFT = Path("inputs", "draft.json")


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


def _file() -> Path:
    return Path(click.get_app_dir("pairtrace")) / "recent.json"
