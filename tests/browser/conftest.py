"""A server of its own and a headless Chromium: what AppTest cannot see, such as first requests."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks._browser import free_port, wait_until_up
from core.runs.store import Store
from core.specs.recipes import Edit, TopK
from core.workspace.catalog import Catalog
from tests.pages import workspaces

ROOT = Path(__file__).parents[2]
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--use-angle=swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SECONDS = 60


@pytest.fixture(scope="session")
def chromium():
    """The system's Chromium, else Playwright's own; without either these tests are skipped."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    with playwright.sync_playwright() as session:
        if path is None and not Path(session.chromium.executable_path).exists():
            pytest.skip("no Chromium: install one, or run `playwright install chromium`")
        browser = session.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def new_tab(chromium):
    """A browser of its own; it fails the test when the page asks any other machine for anything."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(1000 * SECONDS)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    yield page
    context.close()
    assert not [url for url in asked if not url.startswith(("http://127.0.0.1", "data:", "blob:"))]


@pytest.fixture
def tab(chromium):
    with new_tab(chromium) as page:
        yield page


@pytest.fixture
def other_tab(chromium):
    """Of somebody else."""
    with new_tab(chromium) as page:
        yield page


def environment(workspace: Path) -> dict[str, str]:
    """A server's."""
    return {**os.environ, "PAIRTRACE_WORKSPACE": str(workspace), "OMP_NUM_THREADS": "1"}


@contextmanager
def serving(workspace: Path, *command: str):
    """A server process on a free port; yields its address. `{port}` stands for the port."""
    port = free_port()
    words = [word.format(port=port) for word in command]
    server = subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env=environment(workspace),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until_up(f"http://127.0.0.1:{port}/_stcore/health")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(SECONDS)


@pytest.fixture(scope="session")
def fork_server():
    """A process that has imported the app and forks servers (tests.browser.forked)."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.browser.forked"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def served(fork_server):
    """`serving` Streamlit, quicker: the server need not import the app first."""

    @contextmanager
    def serve(workspace: Path, *options: str):
        port = free_port()
        words = ["run", "app.py", "--server.port", str(port), *options]
        request = {"environment": environment(workspace), "words": words}
        fork_server.stdin.write(f"{json.dumps(request)}\n")
        fork_server.stdin.flush()
        server = psutil.Process(int(fork_server.stdout.readline()))
        try:
            wait_until_up(f"http://127.0.0.1:{port}/_stcore/health")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(SECONDS)

    return serve


STREAMLIT = ("streamlit", "run", "app.py", "--server.port", "{port}")
PAIRTRACE = ("core.cli.main", "app", "--port", "{port}")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "workspace")


@pytest.fixture
def project(store, tmp_path):
    return workspaces.make_project(tmp_path)


@pytest.fixture
def investigated(store, project):
    return workspaces.investigate(store, project, np.random.default_rng(0))


@pytest.fixture
def retrained(store, project, investigated):
    """With an edit in the cart and its arms measured, so that no page is empty."""
    rank = investigated["rank compliance"]
    workspaces.intervene(store, project, rank, np.random.default_rng(0))
    Catalog(store.workspace).add(Edit(action="flip", recipe=TopK(rank=rank, k=5)), who="analyst")
    return store


def settle(page) -> None:
    """Wait until the app has drawn the page and its script rests.

    The running man in the corner is no sign of that: he comes late. And nothing that is drawn by a
    rerun may be asserted with `is_visible`, which does not wait; `wait_for` does.
    """
    page.wait_for_selector("h1")
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]')


def until(state, expected) -> None:
    """Wait for what the log leads to: a rerun may begin long after the click."""
    for _ in range(10 * SECONDS):
        if state() == expected:
            return
        time.sleep(0.1)
    assert state() == expected
