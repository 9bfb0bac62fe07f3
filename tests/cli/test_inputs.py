"""Looking at a preference set and bringing it in, from the command line."""

import json

import pandas as pd
from click.testing import CliRunner

from core.cli.main import cli
from core.data.pairs import read_pairs
from tests.tiny_models import tiny_tokenizer

ROWS = [
    {"q": "w1", "good": "w2 w3", "bad": "w4"},
    {"q": "w1 " * 30, "good": "w5", "bad": "w6"},
    {"q": "w7", "good": "", "bad": "w6"},
]
MAP = ["--map", "prompt=q", "--map", "chosen=good", "--map", "rejected=bad"]


def pairtrace(*words):
    done = CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=True)
    return done


def test_preview_import_check(tmp_path):
    pd.DataFrame(ROWS).to_csv(tmp_path / "given.csv", index=False)
    shown = pairtrace("data", "preview", tmp_path / "given.csv", *MAP, "--json")
    assert json.loads(shown.output)["pairs"][0]["chosen"] == "w2 w3"
    assert "left out" in pairtrace("data", "preview", tmp_path / "given.csv", *MAP).output

    workspace = ["-w", tmp_path / "workspace"]
    told = pairtrace(*workspace, "data", "import", tmp_path / "given.csv", *MAP, "--json")
    assert json.loads(told.output)["n_pairs"] == 2
    copied = tmp_path / "workspace" / "inputs" / "pairs.parquet"
    assert read_pairs(copied).pairs["prompt"].str.strip().str[:2].tolist() == ["w1", "w1"]

    tiny_tokenizer().save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text('{"model_type": "olmo2"}')
    (tmp_path / "model" / "model.safetensors").write_bytes(b"")
    asked = ["--pairs", copied, "--model", tmp_path / "model", "--max-length", 20]
    checked = json.loads(pairtrace(*workspace, "check", *asked, "--json").output)
    assert checked["summary"]["share_too_long"] == 0.5
    assert checked["summary"]["n_pairs"] == 2


def test_a_wrong_map_is_reported(tmp_path):
    pd.DataFrame(ROWS).to_csv(tmp_path / "given.csv", index=False)
    for words, message in [
        (["--map", "chosen"], "write field=column"),
        (["--map", "chosen=best"], "column 'best' is missing; it has q, good, bad"),
        (["--map", "answer=good"], "'answer' is not a field of a pair"),
    ]:
        done = pairtrace("-w", tmp_path, "data", "import", tmp_path / "given.csv", *words)
        assert message in str(done.exception)
