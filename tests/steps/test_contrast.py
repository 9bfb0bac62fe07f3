"""Behaviors by examples and by a sentence, without policy or judge, on tiny models."""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from core.attribution.completions import completion_activations
from core.cli.main import cli
from core.errors import UserError
from core.models.loading import load_model
from core.runs.execute import execute
from core.runs.store import Store
from core.specs import project as projects
from core.specs.base import identity
from core.specs.behaviors import Contrast
from core.specs.project import Project
from core.specs.steps import ExplainSpec
from core.steps.contrast import MOST, chosen
from tests.tiny_models import save_tiny_model

SHOWN = "w1 w2 w1 w2 w1"  # what the planted pairs prefer, and the examples show


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model") / "reference", blocks=2)


@pytest.fixture
def store(tmp_path, model):
    """A project of a reference, pairs of which half prefer `SHOWN`, and examples; no policy."""
    words = np.random.default_rng(0).integers(3, 50, size=(60, 12))
    texts = [[f"w{word}" for word in row] for row in words]
    pairs = [
        {"uid": f"u{i:02}", "prompt": f"w3 w4 w5 {row[0]}", "rejected": " ".join(row[6:])}
        | {"chosen": f"{SHOWN} {row[1]}" if i < 30 else " ".join(row[:6]), "source": "s"}
        for i, row in enumerate(texts)
    ]
    examples = [
        {
            "prompt": f"w3 w4 w5 {row[0]} w6",
            "shows": f"{SHOWN} {row[2]}",
            "lacks": " ".join(row[6:]),
        }
        for row in texts[:12]
    ]
    prompts = [
        {"prompt_id": f"p{i}", "group": "asked" if i < 6 else "other", "topic": "t"}
        | {"prompt": " ".join(row[:5])}
        for i, row in enumerate(texts[:8])
    ]
    for name, rows in {"pairs": pairs, "examples": examples, "prompts": prompts}.items():
        write(tmp_path / f"{name}.jsonl", rows)
    contrasts = (
        Contrast(name="by examples", examples=str(tmp_path / "examples.jsonl")),
        Contrast(name="by sentence", sentence="w1 w2 w3", group="asked"),
    )
    plan = Project(
        name="no policy",
        reference=str(model),
        pairs=str(tmp_path / "pairs.jsonl"),
        prompts=str(tmp_path / "prompts.jsonl"),
        contrasts=contrasts,
        overrides={"contrast": {"rollouts": 2, "max_new_tokens": 4}},
    )
    store = Store(tmp_path / "workspace")
    projects.save(plan, store.workspace)
    return store


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def pairtrace(store, *words):
    done = CliRunner().invoke(cli, ["-w", str(store.workspace), *words])
    if done.exception is not None:
        raise done.exception
    return done.output


def test_pairs_are_ranked_by_examples_without_policy_or_judge(store):
    pairtrace(store, "index")
    made = json.loads(pairtrace(store, "rank", "--behavior", "by examples", "--json"))
    ranking = pd.read_parquet(f"{made['output']}/ranking.parquet")
    best = ranking.nlargest(30, "similarity")["uid"]  # one kind of prompt: a gate is noise
    assert best.str[1:].astype(int).lt(30).mean() > 0.9
    assert made["summary"]["valid"]
    explained = store.output(execute(ExplainSpec(rank=made["run"], top=5), store))
    sums = pd.read_parquet(explained / "tokens.parquet").groupby("uid")["value"].sum()
    scores = ranking.set_index("uid")[made["summary"]["method"]].loc[sums.index]
    assert np.allclose(sums, scores, atol=2e-4)


def test_a_sentence_is_answered_with_and_without_it_and_read_without(store):
    spec = projects.load(store.workspace)
    spec = spec.contrast(spec.contrast_named("by sentence"))
    output = store.output(execute(spec, store))
    table = pd.read_parquet(output / "completions.parquet")
    assert set(table["prompt_id"]) == {f"p{i}" for i in range(6)}
    assert table.groupby(["prompt_id", "model"]).size().eq(2).all()
    assert not table["prompt"].str.contains("system").any()
    assert json.loads((output / "summary.json").read_text())["sentence_in"] == "system"


FLAGS = """
[patterns.even]
any = ['^w\\d*[02468]\\b']
[patterns.never]
any = ['x']
"""


@pytest.fixture
def flagged(store, tmp_path):
    """The contrast spec of a sentence whose completions are kept by a flag."""
    (tmp_path / "judge.toml").write_text(FLAGS)
    plan = projects.load(store.workspace).model_copy(update={"judge": str(tmp_path / "judge.toml")})

    def spec(**fields):
        return plan.contrast(Contrast(name="x", sentence="w1 w2 w3", group="asked", **fields))

    return spec


def test_with_a_flag_only_completions_that_fit_their_side_are_compared(store, flagged):
    output = store.output(execute(flagged(flag="even", opposite="w4 w5"), store))
    table = pd.read_parquet(output / "completions.parquet")
    even = table["completion"].str.match(r"w\d*[02468]\b")
    assert even.any()
    assert even.eq(table["model"].eq("policy")).all()
    summary = json.loads((output / "summary.json").read_text())
    assert "of 12 completions with the sentence show 'even'" in summary["sentence_did"]
    assert not summary["sentence_works"]  # a model of random weights follows no sentence


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"flag": "never"}, "0 of 12 completions with the sentence .* does not do what"),
        ({"flag": "rude"}, "gives no flag 'rude'. It gives: even, never"),
        ({"opposite": "w1 w2 w3"}, "writes the same with the sentence"),
    ],
)
def test_sides_that_do_not_differ_are_refused(store, flagged, fields, message):
    with pytest.raises(UserError, match=message):
        execute(flagged(**fields), store)


def test_a_sentence_alone_keeps_the_run_id_that_it_had(flagged):
    contents = dict.fromkeys(("reference", "examples", "prompts", "judge"), "")
    assert identity(flagged(), contents) == "836666005cb1cb7e"


def test_a_policy_is_asked_for_only_where_a_step_needs_it(store):
    plan = projects.load(store.workspace)
    with pytest.raises(UserError, match="names no policy"):
        plan.generate()
    with pytest.raises(UserError, match="policy: Field required"):
        pairtrace(store, "generate")
    with pytest.raises(UserError, match="given by examples or a sentence"):
        pairtrace(store, "evaluate", "--model", "m")


def test_a_behavior_is_added_from_the_command_line(store, tmp_path):
    file = write(tmp_path / "few.jsonl", [{"prompt": "w5", "shows": "w1", "lacks": "w6"}])
    made = json.loads(pairtrace(store, "behavior", "few", "--examples", str(file), "--json"))
    assert "1 prompts have both sides: the vector cannot be tested" in made["warnings"][0]
    assert projects.load(store.workspace).contrast_named("few").examples == str(file)
    pairtrace(store, "index")
    ranked = json.loads(pairtrace(store, "rank", "--behavior", "few", "--json"))
    assert not ranked["summary"]["valid"]
    assert "at least four" in ranked["summary"]["verdict"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sentence", " "], "not empty"),
        (["--sentence", "w1 " * 700], "2,100 characters; at most 1,000"),
        ([], "give examples"),
        (["--sentence", "w1", "--examples", "e.jsonl"], "not both"),
        (["--sentence", "w1", "--group", "nobody"], "no prompt of group 'nobody'"),
        (["--sentence", "w1", "--flag", "rude"], "gives no flag 'rude'. It gives: none"),
        (["--examples", "e.jsonl", "--flag", "rude"], "belong to a sentence"),
        (["--examples", "nowhere.jsonl"], "not a file of examples"),
    ],
)
def test_a_behavior_that_cannot_be_used_is_refused_before_anything_is_paid(store, words, message):
    before = (store.workspace / projects.FILE).read_text()
    with pytest.raises(UserError, match=message):
        pairtrace(store, "behavior", "new", *words)
    assert (store.workspace / projects.FILE).read_text() == before


@pytest.mark.parametrize(
    ("zeroed", "message"),
    [("o_proj", "writes the same with the sentence"), ("", "those of one side are empty")],
)
def test_a_sentence_that_changes_nothing_is_refused(store, model, tmp_path, zeroed, message):
    loaded = load_model(model)  # without attention it does not see the sentence
    for name, weights in loaded.model.named_parameters():
        if zeroed in name:
            weights.data.zero_()
    loaded.model.save_pretrained(tmp_path / "deaf")
    loaded.tokenizer.save_pretrained(tmp_path / "deaf")
    plan = projects.load(store.workspace).model_copy(update={"reference": str(tmp_path / "deaf")})
    spec = plan.contrast(plan.contrast_named("by sentence"))
    with pytest.raises(UserError, match=message):
        execute(spec.model_copy(update={"temperature": 0.0}), store)


def test_each_side_of_an_example_is_read_after_its_own_prompt(model):
    rows = pd.DataFrame(
        {
            "prompt_id": "a",
            "condition": "plain",
            "group": "g",
            "topic": "t",
            "prompt": ["w4 w5", "w6"],
            "completion": ["w1 w2", "w7"],
        }
    )
    loaded = load_model(model)
    together = completion_activations(loaded, rows, [1])
    apart = [
        completion_activations(loaded, rows.iloc[[i]].reset_index(drop=True), [1]) for i in (0, 1)
    ]
    np.testing.assert_allclose(together.means, np.concatenate([a.means for a in apart]), atol=1e-5)
    np.testing.assert_allclose(together.contexts, apart[0].contexts, atol=1e-5)


def test_ten_thousand_examples_cost_no_more_than_so_many_prompts():
    n = 10_000
    rows = pd.DataFrame({"prompt_id": np.arange(n) // 2, "side": ["shows", "lacks"] * (n // 2)})
    many_of_a_prompt = pd.DataFrame({"prompt_id": 0, "side": ["shows"] * n + ["lacks"] * n})
    assert chosen(rows, 500, 0)["prompt_id"].nunique() == 500
    assert len(chosen(many_of_a_prompt, 500, 0)) == 2 * MOST
