"""The scoreboard: results of the benchmark as tables, the paper's beside them."""

import json

import pandas as pd
import pytest

from core.errors import UserError
from core.report.scoreboard import PAPER, over_worlds, quality_and_cost, read, write
from core.specs.behaviors import DEFAULT_SCORE


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
    table = read(path)
    assert len(table) == 8
    assert table[table["behavior"].eq("c")]["problem"].notna().all()
    means = over_worlds(table).set_index("method")
    assert means.index.tolist() == ["gated", "bank"]  # gradients ran on a sample only
    assert means.loc["gated", ["mean", "low", "high", "n"]].tolist() == pytest.approx(
        [0.95, 0.9, 1, 2]
    )


def test_what_is_written_is_read_again_and_what_is_undefined_stays_so(tmp_path):
    path = tmp_path / "scoreboard.json"
    write(path, [world("x", gated=0.987654321, bank=float("nan"))])
    table = read(path).set_index("method")["average_precision"]
    assert table["gated"] == 0.98765
    assert pd.isna(table["bank"])


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="scoreboard"):
        read(tmp_path / "scoreboard.json")


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
    table = read()
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
