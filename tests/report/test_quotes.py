import numpy as np
import pandas as pd
import pytest

from core.report import quotes
from core.report.findings import gather
from core.report.html import to_html
from core.runs.store import Store
from core.specs.steps import ExplainSpec
from core.workspace.catalog import Catalog
from tests.pages import workspaces


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "workspace")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def investigated(store, tmp_path, rng):
    project = workspaces.make_project(tmp_path)
    runs = workspaces.investigate(store, project, rng)
    arms = workspaces.intervene(store, project, runs["rank compliance"], rng, seeds=(0,))
    return runs | {"edit": store.run_id(arms[0].edit)}


def test_a_report_is_about_an_edit_its_pairs_and_a_completion_that_changed(store, investigated):
    story = gather(store, edit=investigated["edit"], author="Ana")
    assert story.headline.startswith("Not yet proven (1 training seed): compliance 55.0% → 8.0%")
    assert len(story.pairs) == 10
    assert {pair["source"] for pair in story.pairs} <= {"instructions", "chat"}
    assert story.example["before"] != story.example["after"]
    assert "All" in story.points["sample"]
    assert len(story.points["e"]) == 40


def test_the_words_of_explained_pairs_have_their_parts(store, investigated):
    """Of the best pair, whose first word has a control character."""
    rank = investigated["rank compliance"]
    uid = pd.read_parquet(store.output(rank) / "ranking.parquet")["uid"].iloc[0]
    tokens = [(uid, "chosen", "Su\x07re", 0.4), (uid, "chosen", " here", -0.1)]
    workspaces.finish(
        store,
        ExplainSpec(rank=rank),
        tokens=pd.DataFrame(tokens, columns=["uid", "side", "text", "value"]),
        summary={"behavior": "compliance", "method": "discriminant", "n_pairs": 1},
    )
    first, second = gather(store).pairs[:2]
    assert first["chosen_parts"] == [("Su\ufffdre", 1.0), (" here", -0.25)]
    assert "chosen_parts" not in second


def test_names_that_people_gave_are_those_of_the_report(store, investigated):
    Catalog(store.workspace).rename(investigated["discover"], 1, "jailbreak", who="ana")
    story = gather(store)
    assert story.points["names"]["1"] == "1 · jailbreak"
    assert "1 · jailbreak" in set(story.clusters["cluster"])
    assert story.author == "ana"


def test_paths_are_relative_and_no_folder_of_this_machine_is_told(store, investigated, tmp_path):
    assert str(tmp_path) not in to_html(gather(store))


def test_of_many_pairs_a_sample_is_on_the_map_and_said_to_be(store, investigated, monkeypatch):
    monkeypatch.setattr(quotes, "MAP_POINTS", 50)
    points = quotes.on_map(store)["points"]
    assert [len(points[name]) for name in "xyct"] == [50] * 4
    assert points["e"] == []
    assert "50 of 400 pairs, drawn at random" in points["sample"]


def test_a_full_map_of_long_texts_in_any_script_stays_below_three_megabytes():
    texts = pd.DataFrame(np.full((quotes.MAP_POINTS, 3), "\U0001f600<" * 500))
    size = len(str(texts.head(20).map(quotes._snippet).to_numpy().tolist()).encode()) / 20
    assert size * quotes.MAP_POINTS < 2.2e6


def test_control_characters_and_long_texts_are_cut_visibly():
    assert quotes.cut("a\u202eb\x00c\nd") == "a\ufffdb\ufffdc\nd"
    assert quotes.cut("x" * 2000).endswith("… (500 more characters)")
