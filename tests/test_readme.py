"""The README's commands for own models, word for word, from two model folders to a ranking."""

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from core.cli.main import cli
from core.demo.investigation import ORGANISM
from core.runs.store import Store
from tests.test_documentation import ROOT, commands

PART = re.compile(r"## Your own models and pairs\n(.*?)```\n(.*?)```", re.S)
(BLOCK,) = [f"```\n{text}```" for _, text in PART.findall((ROOT / "README.md").read_text("utf-8"))]
PLANTED = "distractor-triggered compliance"  # what the policy learned from them
N_PAIRS, N_PROMPTS = 200, 8  # pairs; prompts of each group


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """The files that the README names, where its reader is: models, pairs and prompts."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ORGANISM / "reference", "path/to/sft")
    shutil.copytree(ORGANISM / "policy", "path/to/dpo")
    pairs = pd.read_parquet(ORGANISM / "pairs.parquet")
    pairs.sample(N_PAIRS, random_state=0).to_parquet("pairs.parquet")
    for name in ("prompts.jsonl", "heldout.jsonl"):
        prompts = pd.read_json(ORGANISM / name, lines=True)
        kept = prompts[prompts["group"].isin(["harmful", "benign"])].groupby("group")
        kept.head(N_PROMPTS).to_json(name, orient="records", lines=True)


@pytest.mark.usefixtures("inputs")
def test_the_commands_for_own_models_end_in_a_ranking():
    for words in commands(BLOCK):
        done = CliRunner().invoke(cli, words)
        assert done.exit_code == 0, (words, done.output, done.exception)
    store = Store(Path("my-investigation"))
    ranking = pd.read_parquet(store.output(store.newest("rank")) / "ranking.parquet")
    assert len(ranking) == N_PAIRS
    planted = pd.read_parquet(ORGANISM / "truth.parquet").query("planted == @PLANTED")["uid"]
    best = ranking["uid"].head(10).isin(planted)
    assert best.mean() > 2 * ranking["uid"].isin(planted).mean()
