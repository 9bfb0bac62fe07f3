"""A project that somebody sent: what it calls its behaviors is text, wherever a page writes it."""

import numpy as np
import pytest

from core.runs.store import Store
from core.specs import project as projects
from tests.pages import workspaces
from tests.pages.conftest import opened

NAME = "<a href='//evil.example'>c</a> ![n](http://evil.example/n.png) [click](http://evil.example)"
PLAIN = ("text", "code", "html")  # bodies that are no markdown
PAGES = ("overview", "behaviors", "rank", "map", "clusters", "intervene", "results", "tour")
PARTS = (
    *("Dose", "Predicted and measured", "Completions", "Spot-check", "Sources", "Training"),
    "Report and export",
)
FOLDED = (
    *(("overview", key) for key in ("numbers", "others")),
    *(("rank", key) for key in ("two-orders", "layers", "spans")),
    *(("clusters", key) for key in ("open-tree", "open-ask")),
)
VIEWS = (
    *((page, {}, None) for page in PAGES),
    *(("results", {"part": part}, None) for part in PARTS),
    ("map", {"view": "heatmap"}, None),
    *((page, {}, key) for page, key in FOLDED),
)


def marked_down(app) -> list[str]:
    """Everything on a page that a browser draws as markdown: bodies, labels, helps."""
    texts = []
    for node in (*app.main, *app.sidebar):
        proto = getattr(node, "proto", None)
        names = (
            ("label", "help", "placeholder") if node.type in PLAIN else ("body", "label", "help")
        )
        texts += [str(getattr(proto, name, "")) for name in names]
        if node.type in ("button_group", "pills", "segmented_control", "radio"):
            texts += [str(option) for option in getattr(proto, "options", ())]
    return texts


@pytest.fixture(scope="module")
def sent(tmp_path_factory):
    """The workspace of such a project; pages only read it."""
    folder, rng = tmp_path_factory.mktemp("sent"), np.random.default_rng(0)
    store = Store(folder / "workspace")
    texts = {"name": NAME, "description": workspaces.HOSTILE}
    hostile = workspaces.BEHAVIORS[0].model_copy(update=texts)
    behaviors = (hostile, *workspaces.BEHAVIORS[1:])
    rates = workspaces.RATES | {NAME: workspaces.RATES["compliance"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workspaces, "BEHAVIORS", behaviors)
        patch.setattr(workspaces, "RATES", rates)
        project = workspaces.make_project(folder).model_copy(update={"behaviors": behaviors})
        projects.save(project, store.workspace)
        runs = workspaces.investigate(store, project, rng)
        workspaces.intervene(store, project, runs[f"rank {NAME}"], rng, why=NAME)
    return store


@pytest.fixture
def store(sent, monkeypatch):
    monkeypatch.setenv("PAIRTRACE_WORKSPACE", str(sent.workspace))
    return sent


@pytest.mark.parametrize(("page", "query", "folded"), VIEWS)
def test_a_behaviors_name_and_description_are_not_drawn_as_markdown(open_page, page, query, folded):
    app = open_page(page, **query)
    if folded:
        app = opened(app, folded)
    assert not app.exception
    drawn = [text for text in marked_down(app) if "](http" in text]
    assert drawn == []
    charts = [node.proto.spec for node in (*app.main, *app.sidebar) if node.type == "plotly_chart"]
    assert not [chart for chart in charts if "<a href" in chart or "\\u003ca href" in chart]
