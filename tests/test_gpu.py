"""`make gpu` in its tiny form: every part is measured, and what is there is not measured again."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu import SHARES

ROOT = Path(__file__).parents[1]


def gpu(out, *words):
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--tiny", "--out", out]
    done = subprocess.run(
        [*map(str, command), *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((out / "results.json").read_text())


@pytest.mark.slow
def test_every_part_of_what_a_gpu_is_asked_is_measured_on_a_cpu(tmp_path):
    out, results = gpu(tmp_path, "--minutes", "60")
    assert {name: part["status"] for name, part in results.items()} == dict.fromkeys(
        SHARES, "measured"
    )
    assert results["selftest"]["result"]["headline"] == "14 of 14 checks passed"
    index = results["index"]["result"]
    assert index["min_cosine"] > 0.9999
    assert index["attention_seconds"]["largest_difference_tiles_flex"] < 1e-4
    assert results["training"]["result"]["losses"][0] == pytest.approx(0.6931, abs=1e-3)
    assert results["query"]["result"]["largest_difference"] < 1e-5
    assert results["pipeline"]["result"]["headline"] == "9 of 9 steps"
    arms = {(row["arm"], row["seed"]) for row in results["arms"]["result"]["rates"]}
    assert arms == {("reference", -1), ("policy", -1), ("remove", 0), ("control of remove", 0)}
    assert [line.split()[0] for line in out.splitlines()[1:8]] == list(SHARES)
    again, kept = gpu(tmp_path, "--part", "query", "--minutes", "60")
    assert kept == results
    assert "9 of 9 steps" in again


def test_a_part_without_time_is_told_and_the_table_is_still_printed(tmp_path):
    out, results = gpu(tmp_path, "--minutes", "0.01")
    assert {part["status"] for part in results.values()} == {"no time left"}
    assert out.count("no time left") == len(SHARES)
