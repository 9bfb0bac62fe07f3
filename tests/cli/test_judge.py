"""`pairtrace judge preview`: what judge files say of completions at hand."""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from core.cli.main import cli
from core.runs.store import Store
from tests.pages import workspaces

TEXTS = [
    "I'm sorry, but I can't help.",
    "Sure. Take a rope.",
    "I cannot help with that.",
    "No, thanks \x1b[31m red.",
    " ",
]
STRICT = '[patterns.refused]\nany = ["sorry"]\n[rules.short]\nwords = {at_most = 4}\n'


def pairtrace(*words):
    return CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=True)


@pytest.fixture
def folder(tmp_path):
    """Completions of two prompts, and a judge file."""
    rows = [
        {"prompt_id": f"p{i // 2}", "model": ("reference", "policy")[i % 2], "completion": text}
        for i, text in enumerate(TEXTS)
    ]
    pd.DataFrame(rows).to_json(tmp_path / "texts.jsonl", orient="records", lines=True)
    (tmp_path / "strict.toml").write_text(STRICT)
    return tmp_path


def preview(folder, *words):
    done = pairtrace(
        *("-w", folder / "w", "judge", "preview", *words),
        *("--completions", folder / "texts.jsonl", "--json"),
    )
    assert done.exception is None, done.exception
    return json.loads(done.output)


def test_every_flag_is_counted_and_shown_on_texts(folder):
    result = preview(folder, "refusal")
    assert result["flags"][0] == {
        **{"judge": "refusal", "flag": "refused"},
        **{"yes": 2, "no": 2, "unscored": 1},
    }
    texts = [row["completion"] for row in result["texts"] if row["flag"] == "refused"]
    assert texts == [TEXTS[0], TEXTS[2], TEXTS[1], TEXTS[3]]
    rates = {(r["flag"], r["model"]): (r["rate"], r["n"]) for r in result["rates"]}
    assert rates["refused", "reference"] == (1.0, 2)
    assert rates["complied", "policy"] == (1.0, 2)


def test_judges_that_disagree_say_how_often_and_where(folder):
    row = preview(folder, "refusal", folder / "strict.toml")["disagreement"]
    assert len(row) == 1  # the flag that both give
    assert (row[0]["only_first"], row[0]["only_second"]) == (1, 0)
    assert row[0]["agreement"] == 0.75
    assert row[0]["example"] == TEXTS[2]


def test_hand_labels_give_kappa(folder):
    labels = pd.DataFrame({"completion": TEXTS[:4], "refused": ["yes", "no", "yes", "yes"]})
    labels.to_csv(folder / "labels.csv", index=False)
    words = ["refusal", "--labels", folder / "labels.csv"]
    [row] = preview(folder, *words)["labels"]
    assert (row["n"], row["agreement"], row["kappa"]) == (4, 0.75, 0.5)
    assert (row["only_judge"], row["only_person"]) == (0, 1)
    assert preview(folder, *words, "--limit", 2)["labels"][0]["n"] <= 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"completion": TEXTS[0], "rude": "yes"}], "no judge gives the flag 'rude'"),
        ([{"completion": TEXTS[0], "refused": "maybe"}], "neither yes nor no"),
        ([{"completion": "other", "refused": "yes"}], "no completion has this completion"),
        ([{"completion": TEXTS[0], "refused": 1}] * 2, "rows 1 and 2 name the same"),
        ([{"text": TEXTS[0], "refused": 1}], "needs the column completion"),
        ([], "no labels"),
    ],
)
def test_wrong_labels_are_refused(folder, rows, message):
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "labels.jsonl").write_text(lines)
    words = ["refusal", "--completions", folder / "texts.jsonl", "--labels"]
    done = pairtrace("judge", "preview", *words, folder / "labels.jsonl")
    assert message in str(done.exception)


def test_a_terminal_gets_no_control_characters(folder):
    words = ["refusal", folder / "strict.toml", "--completions", folder / "texts.jsonl"]
    done = pairtrace("judge", "preview", *words)
    assert "refusal · refused: 2 yes, 2 no, 1 unscored" in done.output
    assert "\x1b[31m" not in done.output
    assert "refusal: refused / " in done.output
    assert "1 of 4 differ (1 only the first, 0 only the second), kappa 0.50" in done.output
    assert f"such as  {TEXTS[2]}" in done.output


def test_what_cannot_be_scored_or_compared_is_said_in_words(folder):
    (folder / "empty.jsonl").write_text('{"completion": " "}\n')
    (folder / "labels.csv").write_text("completion,refused\n ,yes\n")
    words = ["refusal", folder / "strict.toml", "--completions", folder / "empty.jsonl"]
    done = pairtrace("judge", "preview", *words, "--labels", folder / "labels.csv")
    assert done.exception is None
    assert "nothing scored" in done.output
    assert "kappa undefined" in done.output


def test_a_judge_of_no_flags_says_so(folder):
    done = pairtrace("judge", "preview", "none", "--completions", folder / "texts.jsonl")
    assert "gives no flags" in done.output


def test_the_completions_of_a_run_are_read_and_no_other_run(tmp_path):
    project, store = workspaces.make_project(tmp_path), Store(tmp_path / "workspace")
    workspaces.investigate(store, project, np.random.default_rng(0))
    run = store.newest("generate")
    words = ["-w", store.workspace, "judge", "preview", "refusal", "--completions"]
    assert "refusal · complied" in pairtrace(*words, run).output
    done = pairtrace(*words, store.newest("rank"))
    assert "generate and evaluate runs have" in str(done.exception)


@pytest.mark.parametrize(
    ("line", "message"),
    [("{}", "no text"), ('{"completion": 3}', "row 1"), ("", "contains no completions")],
)
def test_wrong_completions_are_refused(tmp_path, line, message):
    (tmp_path / "texts.jsonl").write_text(line)
    words = ["judge", "preview", "refusal", "--completions", tmp_path / "texts.jsonl"]
    assert message in str(pairtrace(*words).exception)
