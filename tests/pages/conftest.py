"""Every page runs inside the real shell, on a workspace of its own."""

import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from streamlit import config
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from core.runs.store import Store
from tests.pages import workspaces

SHELL = Path(__file__).parents[2] / "pages" / "_shell.py"
SECONDS = 30
# Each AppTest looks for components in all installed packages, each run collects the garbage of
# all tests: a third of the time of these tests.
manifest_scanner.scan_component_manifests = cache(manifest_scanner.scan_component_manifests)
config.set_option("runner.postScriptGC", False)


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("PAIRTRACE_WORKSPACE", str(tmp_path / "workspace"))
    return Store(tmp_path / "workspace")


@pytest.fixture
def project(store, tmp_path):
    return workspaces.make_project(tmp_path)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def investigated(store, project, rng):
    """Everything up to retraining is finished; run ids by a name."""
    return workspaces.investigate(store, project, rng)


@pytest.fixture
def open_page(store):
    """Open a page by name, as the first visitor of its URL would."""

    def open_named(name: str, **query: str) -> AppTest:
        app = AppTest.from_file(str(SHELL), default_timeout=SECONDS)
        app.query_params.update(query)
        app.run()
        if name != "overview":
            app.query_params.update(query)
            app.switch_page(f"{name}.py").run()
        return app

    return open_named


def opened(app: AppTest, key: str) -> AppTest:
    """The page with a folded part open: what is closed is not drawn."""
    app.session_state[key] = True
    return app.run()


def page_text(app: AppTest) -> str:
    """Everything that a page says in words, for looking up phrases."""
    kinds = ("title", "header", "subheader", "text", "caption", "markdown")
    kinds += ("info", "success", "warning", "error", "code", "metric")
    parts = [str(element.value) for kind in kinds for element in getattr(app, kind)]
    return re.sub(r"\\([^\w\s])", r"\1", "\n".join(parts))  # as drawn: without escapes


def html_of(app: AppTest) -> str:
    """The boxes of a page that show texts of the data; not the app's own style and script."""
    bodies = [element.proto.body for element in app.get("html")]
    return " ".join(body for body in bodies if 'dir="auto"' in body)
