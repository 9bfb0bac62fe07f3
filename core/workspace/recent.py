"""Workspaces that the browser app offers: those it was started on, and those opened before.

`pairtrace app FOLDER …` starts on several. What its owner opened is remembered in the folder for
settings (`recent.json`), and offered only where no one but who is at this machine is served: a
visitor never reaches a workspace that the owner of the server did not name for this server.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from core import environment
from core.specs.project import FILE
from core.storage.atomic import write_atomic
from core.storage.parse import from_json

MOST = 12  # workspaces that are remembered


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


def _file() -> Path:
    return Path(click.get_app_dir("pairtrace")) / "recent.json"
