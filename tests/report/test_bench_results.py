"""Shipped results of benchmarks: the scoreboard, the paper's table, and retrainings of edits."""

import json

import pandas as pd
import pytest

from core.errors import UserError
from core.report import bench_results, figures
from core.report.bench_results import PAPER, quality_and_cost, read_scoreboard, write_scoreboard
from core.specs.behaviors import DEFAULT_SCORE
from core.stats import seed_interval


def world(world_name, **scores):
    methods = [
        {"method": m, "average_precision": ap, "cpu_seconds": 1.0} for m, ap in scores.items()
    ]
    methods.append({"method": "gradient", "average_precision_on_sample": 0.5})
    behavior = {"behavior": "b", "layer": 1, "n_planted": 3, "methods": methods, "agreement": []}
    missing = {"behavior": "c", "problem": "no prompt shows it", "methods": []}
    return {"world": world_name, "stride": 4, "behaviors": [behavior, missing]}


def test_every_world_behavior_and_method_has_a_row(tmp_path):
    path = tmp_path / "scoreboard.json"
    path.write_text(json.dumps([world("x", gated=0.9, bank=0.5), world("y", gated=1.0, bank=0.1)]))
    table = read_scoreboard(path)
    assert len(table) == 8
    assert table[table["behavior"].eq("c")]["problem"].notna().all()


def test_what_is_written_is_read_again_and_what_is_undefined_stays_so(tmp_path):
    path = tmp_path / "scoreboard.json"
    write_scoreboard(path, [world("x", gated=0.987654321, bank=float("nan"))])
    table = read_scoreboard(path).set_index("method")["average_precision"]
    assert table["gated"] == 0.98765
    assert pd.isna(table["bank"])


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="scoreboard"):
        read_scoreboard(tmp_path / "scoreboard.json")


def test_the_papers_table_is_theirs():
    best = PAPER.set_index("method").loc["probe (pooled similarity)"]
    assert (best["remove 30k"], best["flip 30k"]) == (2.86, 1.66)


def test_quality_and_cost_are_over_worlds_and_name_what_was_sampled():
    rows = pd.DataFrame(
        {
            "world": ["a", "b", "a", "b"],
            "behavior": "greed",
            "method": ["gated", "gated", "gradient", "gradient"],
            "average_precision": [1.0, 0.8, None, None],
            "average_precision_on_sample": [1.0, 0.7, 0.5, 0.3],
            "cpu_seconds": [2.0, 4.0, 100.0, 300.0],
            "bytes": [10, 10, None, None],
            "dollars": [0.0, 0.0, 0.0, 0.0],
        }
    )
    found = quality_and_cost(rows).set_index("method")
    assert found.index.tolist() == ["gated", "gradient"]
    assert found.loc["gated", ["mean", "low", "high", "n"]].tolist() == [0.9, 0.8, 1.0, 2]
    assert found.loc["gradient", "mean"] == 0.4
    assert found["on_sample"].tolist() == [False, True]
    assert found["cpu_seconds"].tolist() == [3.0, 200.0]
    assert pd.isna(found.loc["gradient", "bytes"])


def test_the_scoreboard_that_is_shipped_shows_what_is_claimed():
    table = read_scoreboard()
    shipped = table[table["world"].eq("bramble")].set_index(["behavior", "method"])
    compliance = shipped.loc["distractor-triggered compliance"]
    assert compliance.loc[[DEFAULT_SCORE, "gated"], "average_precision"].min() >= 0.95
    assert compliance.loc["gradient", "cpu_seconds"] >= 10 * compliance.loc["gated", "cpu_seconds"]
    elsewhere = table[table["world"].ne("bramble") & table["average_precision"].notna()]
    by_method = elsewhere.pivot_table(
        index=["world", "behavior"], columns="method", values="average_precision"
    )
    assert len(by_method.index.unique("world")) >= 3
    assert by_method[DEFAULT_SCORE].groupby("behavior").mean().min() >= 0.85
    for baseline in (
        "similarity",
        "bank",
        "projection",
        "tfidf",
        "bm25",
        "length",
        "norm",
        "random",
    ):
        assert (by_method[DEFAULT_SCORE] > by_method[baseline]).all(), baseline


@pytest.fixture(scope="module")
def shipped():
    return bench_results.read_intervention()


@pytest.mark.parametrize("action", ["remove", "flip"])
def test_every_size_has_three_seeds_and_a_control(shipped, action):
    table = bench_results.doses(shipped, action)
    counts = table.groupby(["arm", "k"]).size()
    assert set(counts) == {3}
    sizes = {arm: sorted(own["k"].unique()) for arm, own in table.groupby("arm")}
    assert sizes["edited"] == sizes["random control"] == [0, 64, 128, 256]


def test_differences_are_those_of_the_seeds(shipped):
    doses = bench_results.doses(shipped, "flip").set_index(["arm", "k", "seed"])["rate"]
    apart = 100 * (doses.loc["edited", 64] - doses.loc["random control", 64])
    value, low, high, _ = seed_interval(list(apart))
    rows = bench_results.effects(shipped).set_index(["action", "pairs"])
    said = rows.loc[("flip", 64), "edited − control, points"]
    assert said == f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"
    assert rows.loc[("flip", 256), "edited"] == "0.0% in all 3 seeds"


def test_intervals_are_at_the_means_of_three_seeds(shipped):
    figure = figures.dose_chart(bench_results.doses(shipped, "remove"))
    edited = next(t for t in figure.data if t.name == "edited")
    assert len(edited.x) == len(edited.error_y.array) == 4
    assert min(edited.error_y.array) > 0


@pytest.mark.parametrize("text", ["[]", "{", json.dumps({"behavior": "b", "rates": {}})])
def test_a_file_of_something_else_is_refused(tmp_path, text):
    path = tmp_path / "intervention.json"
    path.write_text(text)
    with pytest.raises(UserError, match="bench intervention"):
        bench_results.read_intervention(path)
