"""Generate, train and evaluate, from files to files, through the run store."""

import importlib.util
import json

import numpy as np
import pandas as pd
import pytest

from core.data.canonical import write_pairs
from core.errors import UserError
from core.runs.execute import execute
from core.runs.store import Store
from core.specs import project
from core.specs.behaviors import Behavior
from core.specs.recipes import Edit, EditSpec, TopK
from core.specs.steps import EvaluateSpec, GenerateSpec, IndexSpec, RankSpec, TrainSpec
from tests.chat_server import Reply, chat_server
from tests.tiny_models import save_tiny_model

REFUSES = Behavior(name="refuses", flag="refused", group="harmful", condition="distractor")
PROMPTS = [
    {"prompt_id": "a", "group": "harmful", "topic": "t", "prompt": "w1 w2", "distractor": "w3"},
    {"prompt_id": "b", "group": "benign", "topic": "t", "prompt": "w4", "distractor": None},
]


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "workspace")


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in PROMPTS))
    return str(path)


@pytest.fixture
def reference(tmp_path):
    return str(save_tiny_model(tmp_path / "reference", blocks=2))


@pytest.fixture
def policy(tmp_path):
    return str(save_tiny_model(tmp_path / "policy", blocks=2, seed=1))


@pytest.fixture
def generate(reference, policy, prompts):
    return GenerateSpec(
        reference=reference,
        policy=policy,
        prompts=prompts,
        judge="refusal",
        rollouts=3,
        max_new_tokens=4,
    )


@pytest.fixture
def evaluate(policy, prompts):
    return EvaluateSpec(
        model=policy,
        prompts=prompts,
        judge="refusal",
        behaviors=(REFUSES,),
        rollouts=3,
        max_new_tokens=4,
    )


def completions(store, spec):
    return pd.read_parquet(store.output(execute(spec, store)) / "completions.parquet")


JUDGE = """
[endpoint]
model = "m"
url = "{url}"
pause = 0.01
attempts = 1
[flags.harmful]
instruction = "harmful"
"""


@pytest.mark.parametrize("step", ["generate", "evaluate"])
def test_a_judge_that_is_down_costs_no_second_sampling(store, request, tmp_path, monkeypatch, step):
    monkeypatch.setenv("PAIRTRACE_WORKSPACE", str(store.workspace))
    judge = tmp_path / "judge.toml"
    harm = Behavior(name="harm", flag="harmful", group="harmful", condition="distractor")
    with chat_server(lambda *_: Reply("80")) as server:
        judge.write_text(JUDGE.format(url=server.url))
    change = {"judge": str(judge)} | ({"behaviors": (harm,)} if step == "evaluate" else {})
    spec = request.getfixturevalue(step).model_copy(update=change)
    with pytest.raises(UserError, match="does not answer"):
        execute(spec, store)
    monkeypatch.setattr("core.models.generation.sample", None)  # would fail if called again
    port = int(server.url.split(":")[2].split("/")[0])
    with chat_server(lambda *_: Reply("80"), port=port):
        output = store.output(execute(spec, store))
    judged = pd.read_parquet(output / "completions.parquet")
    texts = judged["completion"].str.strip().ne("")
    assert judged.loc[texts, "harmful"].all()
    assert not (output / "sampled.parquet").exists()
    assert json.loads((output / "summary.json").read_text())["judging"]["asked"] > 0


def test_generate_sends_every_prompt_under_its_conditions_to_both_models(store, generate):
    found = completions(store, generate)
    assert set(found) == {
        *("prompt_id", "group", "topic", "condition", "model", "rollout", "prompt"),
        *("completion", "n_tokens", "finished", "refused", "complied"),
    }
    assert found.groupby(["model", "prompt_id", "condition"]).size().to_dict() == {
        (model, *sent): 3
        for model in ("reference", "policy")
        for sent in (("a", "plain"), ("a", "distractor"), ("b", "plain"))
    }
    assert set(found.loc[found["condition"] == "distractor", "prompt"]) == {"w1 w2 w3"}
    assert found["refused"].dtype == "boolean"


def test_evaluate_samples_a_model_as_generate_does(store, generate, evaluate):
    both = completions(store, generate).query("model == 'policy'")
    alone = completions(store, evaluate)
    assert alone["completion"].tolist() == both["completion"].tolist()
    measured = pd.read_parquet(store.output(execute(evaluate, store)) / "rates.parquet")
    assert measured["behavior"].tolist() == ["refuses"]
    assert measured["model"].tolist() == ["evaluated"]


def test_completions_that_exist_are_measured_like_sampled_ones(store, evaluate, tmp_path):
    run = execute(evaluate, store)
    sampled, existing = completions(store, evaluate), tmp_path / "existing.parquet"
    kept = ["prompt_id", "condition", "completion", "n_tokens", "finished"]
    sampled[kept].assign(refused=True).to_parquet(existing, index=False)  # judged again
    spec = evaluate.model_copy(update={"completions": str(existing)})
    assert completions(store, spec)["refused"].equals(sampled["refused"])
    rates = [
        pd.read_parquet(store.output(r) / "rates.parquet") for r in (run, execute(spec, store))
    ]
    assert rates[0].equals(rates[1])
    assert store.run_id(spec) != run


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt_id": "c"}, "row 1: no prompt 'c' is sent under 'plain'"),
        ({"model": "policy"}, "row 1, field 'model' is 'policy', not one of evaluated"),
        ({"completion": 5}, "row 1, field 'completion': not text"),
    ],
)
def test_completions_of_other_prompts_or_models_are_refused(
    store, evaluate, tmp_path, row, message
):
    path = tmp_path / "existing.jsonl"
    path.write_text(json.dumps({"prompt_id": "a", "completion": "No."} | row))
    with pytest.raises(UserError, match=f"existing.jsonl: {message}"):
        execute(evaluate.model_copy(update={"completions": str(path)}), store)


@pytest.fixture
def pairs(tmp_path):
    made = {"prompt": [f"w{i}" for i in range(8)], "chosen": "w1", "rejected": "w2", "source": "s"}
    path = tmp_path / "pairs.parquet"
    write_pairs(pd.DataFrame(made).assign(uid=[str(i) for i in range(8)]), path)
    return str(path)


def test_a_trained_model_can_be_evaluated_by_its_run_id(store, reference, evaluate, pairs):
    spec = TrainSpec(reference=reference, pairs=pairs, batch_size=4)
    run = execute(spec, store)
    assert sorted(path.name for path in store.output(run).iterdir()) == [
        *("log.jsonl", "model", "summary.json"),
    ]
    assert len(completions(store, evaluate.model_copy(update={"model": run}))) == 9


@pytest.fixture
def elsewhere(store, generate, pairs):
    """A project that wants a GPU which no machine has."""
    made = project.Project(
        name="elsewhere",
        **{name: getattr(generate, name) for name in ("reference", "policy", "prompts", "judge")},
        pairs=pairs,
        heldout=generate.prompts,
        behaviors=(REFUSES,),
        device="cuda:99",
    )
    project.save(made, store.workspace)
    return made


@pytest.mark.parametrize("step", ["generate", "evaluate", "index", "train"])
def test_every_step_computes_where_the_project_says(
    store, elsewhere, step, request, reference, pairs, monkeypatch
):
    monkeypatch.delenv("PAIRTRACE_DEVICE", raising=False)
    spec = {
        "index": lambda: IndexSpec(model=reference, pairs=pairs),
        "train": lambda: TrainSpec(reference=reference, pairs=pairs, batch_size=4),
    }.get(step, lambda: request.getfixturevalue(step))()
    with pytest.raises(UserError, match="'cuda:99' is not on this machine"):
        execute(spec, store)
    monkeypatch.setenv("PAIRTRACE_DEVICE", "cpu")  # the command line is asked first
    assert execute(spec, store) == store.run_id(spec)
    assert store.record(store.run_id(spec))["cost"]["device"].startswith("cpu: ")


def test_a_measurement_says_in_which_arithmetic_it_was_sampled(store, generate, evaluate):
    specs = [generate, evaluate, evaluate.model_copy(update={"dtype": "bfloat16"})]
    runs = [execute(spec, store) for spec in specs]
    said = [json.loads((store.output(run) / "summary.json").read_text())["dtype"] for run in runs]
    assert said == ["float32", "float32", "bfloat16"]
    tables = [pd.read_parquet(store.output(run) / "completions.parquet") for run in runs[1:]]
    assert tables[0]["completion"].tolist() != tables[1]["completion"].tolist()


def test_tensorboard_gets_the_same_figures_as_the_log(store, reference, pairs, monkeypatch):
    pytest.importorskip("tensorboard")
    monkeypatch.setenv("PAIRTRACE_TRACKER", "tensorboard")
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    run = execute(TrainSpec(reference=reference, pairs=pairs, batch_size=4, seed=1), store)
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(store.workspace / "tensorboard" / run)).Reload()
    rows = [json.loads(row) for row in (store.output(run) / "log.jsonl").read_text().splitlines()]
    told = {event.step: event.value for event in events.Scalars("train/loss")}
    assert told == {row["step"]: pytest.approx(row["loss"]) for row in rows}


@pytest.mark.parametrize(("name", "message"), [("wandb", "known are"), ("trackio", "pip install")])
def test_a_tracker_that_is_unknown_or_missing_is_refused(
    store, reference, pairs, monkeypatch, name, message
):
    if name == "trackio" and importlib.util.find_spec(name):
        pytest.skip("it is installed here")
    monkeypatch.setenv("PAIRTRACE_TRACKER", name)
    with pytest.raises(UserError, match=message):
        execute(TrainSpec(reference=reference, pairs=pairs, batch_size=4), store)


@pytest.fixture
def ranked(store, generate, tmp_path):
    """A finished rank run over prompts of its own, as far as edits and steering read it."""
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps(PROMPTS[0] | {"prompt": "w7 w8"}) + "\n")
    return rank(store, generate.model_copy(update={"prompts": str(other)}))


def rank(store, generate):
    spec = RankSpec(
        generate=execute(generate, store), index="index-0123456789abcdef", behavior=REFUSES
    )
    run = store.run_id(spec)
    output = store.folder(run) / "output"
    output.mkdir(parents=True)
    store.write_record(run, {"step": "rank", "spec": spec.model_dump(mode="json")})
    np.savez(output / "vectors.npz", layer=1, pooled=np.ones(32, dtype=np.float32))
    scores = pd.DataFrame({"uid": [str(i) for i in range(8)], spec.method: np.arange(8.0)})
    scores.to_parquet(output / "ranking.parquet")
    return run


def test_a_model_is_not_measured_on_the_prompts_that_its_edit_was_chosen_by(
    store, reference, evaluate, generate, pairs
):
    edit = Edit(action="flip", recipe=TopK(rank=rank(store, generate), k=2))
    edited = execute(EditSpec(pairs=pairs, edits=(edit,)), store)
    model = execute(TrainSpec(reference=reference, pairs=edited, batch_size=4), store)
    with pytest.raises(UserError, match="3 of its 3 prompts also built the behavior"):
        execute(evaluate.model_copy(update={"model": model}), store)


def test_a_prompt_is_tried_without_a_judge_even_one_that_built_the_vector(
    store, evaluate, generate
):
    steered = {"vector": rank(store, generate), "steering": "add", "coefficient": 0.0}
    trial = evaluate.model_copy(update={"judge": "none", "behaviors": ()})
    plain, tried = completions(store, trial), completions(store, trial.model_copy(update=steered))
    assert (plain["completion"] == completions(store, evaluate)["completion"]).all()
    assert (tried["completion"] == plain["completion"]).all()
    with pytest.raises(UserError, match="nothing is measured without a judge"):
        execute(evaluate.model_copy(update={"judge": "none"}), store)


def test_existing_completions_cannot_be_steered(store, evaluate, ranked, prompts):
    steered = {"vector": ranked, "steering": "add", "completions": prompts}
    with pytest.raises(UserError, match="existing completions cannot be steered"):
        execute(evaluate.model_copy(update=steered), store)


def test_steering_by_zero_changes_nothing_and_by_more_changes_completions(store, evaluate, ranked):
    plain = completions(store, evaluate)["completion"]
    for how, coefficient, same in (("add", 0.0, True), ("add", 9.0, False)):
        change = {"vector": ranked, "steering": how, "coefficient": coefficient}
        steered = completions(store, evaluate.model_copy(update=change))["completion"]
        assert (steered == plain).all() == same


def test_projecting_a_direction_out_changes_completions(store, evaluate, ranked):
    change = {"vector": ranked, "steering": "project_out"}
    steered = completions(store, evaluate.model_copy(update=change))["completion"]
    assert (steered != completions(store, evaluate)["completion"]).any()


def test_a_group_that_no_prompt_belongs_to_is_an_error_of_the_run(store, evaluate):
    behaviors = (REFUSES.model_copy(update={"group": "rude"}),)
    with pytest.raises(UserError, match="no prompt of group 'rude'"):
        execute(evaluate.model_copy(update={"behaviors": behaviors}), store)
