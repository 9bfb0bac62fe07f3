"""An investigation in which every step has run undisturbed, made once for all fault tests."""

import pytest

from core.runs.store import Store
from tests.chat_server import Reply, chat_server
from tests.faults.investigation import NAME, every_step, make_project
from tests.faults.test_kills import run


@pytest.fixture(scope="session")
def calm(tmp_path_factory):
    """A workspace in which every step has run undisturbed; the specs; how many moments each had."""
    folder = tmp_path_factory.mktemp("faults")
    project, store = make_project(folder), Store(folder / "calm")
    moments = {}
    with chat_server(lambda *_: Reply(NAME)) as server:
        specs = every_step(project, store, server.url)
        for name, spec in specs.items():
            assert run(spec, store.workspace, 0, folder / "moments") == 0, store.info(
                store.run_id(spec)
            )
            moments[name] = int((folder / "moments").read_text())
        yield store, specs, moments
