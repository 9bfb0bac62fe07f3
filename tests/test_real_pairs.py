"""Real preference dialogues and OLMo 2 shapes, from the published file to a measured retraining."""

import json

import pandas as pd
import pytest
from click.testing import CliRunner

from core.cli.main import cli
from core.models.folder import ModelFolder
from core.runs.store import Store
from tests.real_text import BEHAVIOR, HH, save_completions, save_inputs

pytestmark = [
    pytest.mark.skipif(not HH.exists(), reason="hh-rlhf is not beside the checkout"),
    pytest.mark.slow,
    pytest.mark.timeout(1800),
]
SETTINGS = """
[train]
method = "lora"
lora_r = 4
batch_size = 16
learning_rate = 1e-4
[evaluate]
rollouts = 1
max_new_tokens = 8
[discover]
min_cluster_size = 8
"""


def test_from_a_published_file_to_a_measured_retraining(tmp_path):
    save_inputs(tmp_path)
    workspace = tmp_path / "workspace"
    inputs = workspace / "inputs"

    def pairtrace(*words):
        words = ["-w", str(workspace), *map(str, words), "--json"]
        done = CliRunner().invoke(cli, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    assert pairtrace("data", "import", tmp_path / "pairs.jsonl.gz")["n_pairs"] == 47
    pairtrace("data", "prompts", tmp_path / "requests.txt", "--group", "requests")
    save_completions(inputs / "prompts.jsonl", inputs / "completions.jsonl")
    pairtrace(
        *("init", "--name", "hh", "--judge", "refusal", "--behaviors", json.dumps([BEHAVIOR])),
        *("--reference", tmp_path / "reference", "--policy", tmp_path / "policy"),
        *("--pairs", inputs / "pairs.parquet", "--prompts", inputs / "prompts.jsonl"),
        *("--heldout", inputs / "heldout.jsonl"),
    )
    with (workspace / "project.toml").open("a") as file:
        file.write(SETTINGS)
    assert pairtrace("check")["summary"]["share_refused_by_template"] == 0
    pairtrace("generate", "--completions", inputs / "completions.jsonl")
    assert pairtrace("index")["summary"]["n_skipped"] == 0
    ranked = pairtrace("rank", "--behavior", "refusal")
    assert ranked["summary"]["n_pairs"] == 47
    assert pairtrace("discover")["summary"]["n_pairs"] == 47
    pairtrace("intervene", "--top", 12, "--action", "flip", "--seed", 0)

    store, n = Store(workspace), len((inputs / "heldout.jsonl").read_text().splitlines())
    assert len(store.finished("train")) >= 2  # the edited arm and its control
    assert len(store.finished("evaluate")) >= len(store.finished("train"))
    assert not store.infos(state="failed")
    for run in store.finished("evaluate"):
        assert pd.read_parquet(store.output(run) / "rates.parquet")["n"].tolist() == [n]
    for run in store.finished("train"):
        summary = json.loads((store.output(run) / "summary.json").read_text())
        assert summary["loss_at_step_0"] == pytest.approx(0.6931, abs=1e-3)
        assert ModelFolder(store.output(run) / "adapter").is_adapter
