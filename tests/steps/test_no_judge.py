"""Generate, index, discover and a report without any judge, on real models."""

import json

import pandas as pd
import pytest
from click.testing import CliRunner

from core.cli.main import cli
from core.specs import project as projects
from tests.small_organism import small_organism

pytestmark = pytest.mark.slow  # half a minute of one core


@pytest.fixture(scope="module")
def unjudged(tmp_path_factory):
    """A workspace whose project has no judge, with a map; its store."""
    store = small_organism(tmp_path_factory.mktemp("unjudged"))
    plan = projects.load(store.workspace)
    overrides = {**plan.overrides, "generate": {"rollouts": 2}, "discover": {"repeats": 0}}
    plan = plan.model_copy(update={"judge": "none", "behaviors": (), "overrides": overrides})
    projects.save(plan, store.workspace)
    for step in ("generate", "index", "discover"):
        done = pairtrace(store, step, "--json")
        assert done.exception is None, done.exception
    return store


def pairtrace(store, *words):
    return CliRunner().invoke(cli, ["-w", str(store.workspace), *words])


def test_a_map_has_clusters_and_no_changes_of_flags(unjudged):
    output = unjudged.output(unjudged.newest("discover"))
    assert json.loads((output / "summary.json").read_text())["n_clusters"] > 1
    assert pd.read_parquet(output / "changes.parquet").empty
    assert pd.read_parquet(output / "contributions.parquet").empty


def test_a_report_and_the_list_of_clusters_need_no_flags(unjudged, tmp_path):
    path = tmp_path / "report.html"
    assert pairtrace(unjudged, "report", "--out", str(path)).exception is None
    assert "<html" in path.read_text()
    assert pairtrace(unjudged, "discover", "show").exception is None


def test_completions_are_judged_later_without_sampling_again(unjudged):
    completions = unjudged.output(unjudged.newest("generate")) / "completions.parquet"
    words = ["--judge", "refusal", "--completions", str(completions), "--json"]
    done = pairtrace(unjudged, "generate", *words)
    assert done.exception is None, done.exception
    rates = pd.read_parquet(json.loads(done.output)["output"] + "/rates.parquet")
    assert set(rates["flag"]) == {"refused", "complied"}
