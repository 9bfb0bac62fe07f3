"""An investigation in which every step has run undisturbed, made once for all fault tests."""

import json
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from core.runs.store import Store
from core.specs.base import Spec
from core.specs.project import Project
from tests.chat_server import Reply, chat_server
from tests.faults.investigation import NAME, every_step, make_project
from tests.faults.test_kills import run

ASKS = "suggest"  # whose spec names a server: each process of the tests has one of its own


@pytest.fixture(scope="session")
def calm(tmp_path_factory, worker_id):
    """A workspace in which every step has run undisturbed; the specs; how many moments each had."""
    own = tmp_path_factory.mktemp("faults")
    alone = worker_id == "master"
    project, moments = _made((own if alone else own.parent.parent) / "undisturbed")
    store = Store(shutil.copytree(Path(project.pairs).parent / "calm", own / "calm"))
    with chat_server(lambda *_: Reply(NAME)) as server:
        specs = every_step(project, store, server.url)
        yield store, specs, moments | _run({ASKS: specs[ASKS]}, store)


def _made(folder: Path) -> tuple[Project, dict[str, int]]:
    """All but what asks the server, in `folder/calm`, by whichever process comes first."""
    done = folder / "done.json"
    with FileLock(f"{folder}.lock"):
        if not done.exists():
            folder.mkdir()
            project, store = make_project(folder), Store(folder / "calm")
            specs = every_step(project, store, "http://127.0.0.1")
            moments = _run({name: specs[name] for name in specs if name != ASKS}, store)
            done.write_text(json.dumps([project.model_dump(mode="json"), moments]))
    project, moments = json.loads(done.read_text())
    return Project.model_validate(project), moments


def _run(specs: dict[str, Spec], store: Store) -> dict[str, int]:
    """How many moments each had."""
    moments = store.workspace.parent / "moments"
    found = {}
    for name, spec in specs.items():
        assert run(spec, store.workspace, 0, moments) == 0, store.info(store.run_id(spec))
        found[name] = int(moments.read_text())
    return found
