"""A project without a judge: every page opens, and Overview tells what moved by clusters."""

import pandas as pd
import pytest
from click.testing import CliRunner

from core.cli.main import cli
from core.discovery.alarms import CHANGES
from core.intervention.evaluation.rates import RATES
from core.specs import project as projects
from core.specs.recipes import Edit, Where
from core.workspace.catalog import Catalog
from tests.pages import workspaces
from tests.pages.conftest import page_text

PAGES = ["overview", "behaviors", "data", "rank", "map", "clusters", "intervene", "results"]


@pytest.fixture
def unjudged(store, project, rng):
    """Generate, index and discover of a project whose judge is none."""
    plan = project.model_copy(update={"judge": "none", "behaviors": ()})
    projects.save(plan, store.workspace)
    completions = workspaces.completions(("reference", "policy"), (0, 1), rng)
    generated = workspaces.finish(
        store,
        plan.generate(),
        completions=completions.drop(columns=["complied", "refused"]),
        rates=pd.DataFrame(columns=RATES),
        summary={},
    )
    indexed = workspaces.finish(store, plan.index(), manifest={"pairs": workspaces.N_PAIRS})
    found = workspaces.discovery(rng)
    found["changes"] = pd.DataFrame(columns=CHANGES)
    found["contributions"] = found["contributions"].head(0)
    workspaces.finish(store, plan.discover(generated, indexed), **found)
    return plan


@pytest.mark.parametrize("name", [*PAGES, "tour", "methods", "setup"])
def test_every_page_opens(open_page, unjudged, name):
    app = open_page(name)
    assert not app.exception
    assert app.title


def test_overview_tells_what_moved_by_clusters_alone(open_page, unjudged):
    app = open_page("overview")
    assert "This project has no judge" in page_text(app)
    (table,) = [frame.value for frame in app.dataframe if "words of their prompts" in frame.value]
    assert list(table["share"]) == [0.9, 0.2]
    assert "evaluate reference" not in list(app.dataframe[-1].value["step"])


@pytest.mark.parametrize("name", ["behaviors", "rank", "results"])
def test_a_page_about_behaviors_says_that_they_need_a_judge(open_page, unjudged, name):
    assert "no behavior, since it has no judge" in page_text(open_page(name))


def test_a_cart_can_be_tried_but_not_measured(open_page, unjudged, store):
    Catalog(store.workspace).add(
        Edit(action="flip", recipe=Where(column="source", values=("instructions",))), who="ana"
    )
    app = open_page("intervene")
    assert not app.exception
    assert "no behavior, since it has no judge" in page_text(app)


@pytest.mark.parametrize("step", ["rank", "evaluate"])
def test_a_step_that_needs_behaviors_says_so(unjudged, store, step):
    done = CliRunner().invoke(cli, ["-w", str(store.workspace), step])
    assert "no behavior, since it has no judge" in str(done.exception)
