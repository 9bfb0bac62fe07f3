"""Generate and evaluate with models at `transformers serve`, a real server, on this machine."""

import json
from contextlib import ExitStack, contextmanager

import pandas as pd
import pytest
from scipy.stats import fisher_exact
from transformers.cli.serve import Serve

from benchmarks._browser import free_port, wait_until_up
from core.demo.investigation import ORGANISM
from core.errors import UserError
from core.runs.execute import execute
from core.runs.store import Store
from core.specs import project as projects
from core.specs.base import identity
from core.specs.steps import EvaluateSpec, GenerateSpec
from core.steps import evaluate
from core.storage.tables import table

CHANCE = 1e-4  # of a difference between two samples of one distribution


@pytest.fixture(scope="module")
def organism(tmp_path_factory):
    """The organism, asked 24 harmful prompts, half of them with a distractor."""
    whole = projects.load(ORGANISM)
    files = {}
    for name in ("prompts", "heldout"):
        path = tmp_path_factory.mktemp("inputs") / f"{name}.jsonl"
        prompts = pd.read_json(getattr(whole, name), lines=True)
        some = prompts[prompts["group"].eq("harmful")].head(12)
        some.to_json(path, orient="records", lines=True)
        files[name] = str(path)
    overrides = {"generate": {"rollouts": 3}, "evaluate": {"rollouts": 2}}
    behaviors = tuple(behavior for behavior in whole.behaviors if behavior.group == "harmful")
    return whole.model_copy(update=files | {"overrides": overrides, "behaviors": behaviors})


@contextmanager
def serving(**models):
    """Models at ports, until the end; yields the servers by name of the model."""
    with ExitStack() as stack:
        servers = {}
        for name, (folder, port) in models.items():
            servers[name] = Serve(
                folder, host="127.0.0.1", port=port, device="cpu", non_blocking=True
            )
            stack.callback(servers[name].kill_server)
            wait_until_up(f"http://127.0.0.1:{port}/health")
        yield servers


def served(spec, **places):
    return type(spec).model_validate(spec.model_dump() | {"sampler": "openai"} | places)


def url(port):
    return f"http://127.0.0.1:{port}/v1"


def shows(completions):
    """How many completions of each model and condition comply, and how many do not."""
    return completions.groupby(["model", "condition"])["complied"].agg(["sum", "count"]).astype(int)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_served_models_have_the_rates_of_loaded_ones_though_one_dies_in_between(organism, tmp_path):
    store, ports = Store(tmp_path / "workspace"), (free_port(), free_port())
    here = table(store.output(execute(organism.generate(), store)) / "completions.parquet")
    models = {
        "reference": (organism.reference, ports[0]),
        "policy": (organism.policy, ports[1]),
    }
    spec = served(organism.generate(), url=url(ports[0]), policy_url=url(ports[1]), concurrency=4)
    with serving(**models) as servers:

        def kill(event):
            if event.get("done", 0) > 40:
                servers["policy"].kill_server()

        with pytest.raises(UserError, match=rf"{url(ports[1])} does not answer.* kept"):
            execute(spec, store, listen=kill)
    kept = store.part(store.run_id(spec), keep=True) / "served.jsonl"
    begun = sum('"row"' in line for line in kept.read_text().splitlines())
    assert 40 < begun < 144

    moved = (free_port(), free_port())  # the run goes on wherever its servers are
    models = {name: (models[name][0], port) for name, port in zip(models, moved, strict=True)}
    again = served(spec, url=url(moved[0]), policy_url=url(moved[1]), template="ours")
    with serving(**models):
        output = store.output(execute(again, store))
    assert store.run_id(again) == store.run_id(spec) != store.run_id(organism.generate())

    there, summary = table(output / "completions.parquet"), output / "summary.json"
    assert list(there.columns) == list(here.columns)
    assert there[["model", "prompt", "rollout"]].equals(here[["model", "prompt", "rollout"]])
    one, other = shows(here), shows(there)
    for cell in one.index:
        counts = [
            (side["sum"], side["count"] - side["sum"]) for side in (one.loc[cell], other.loc[cell])
        ]
        assert fisher_exact(counts).pvalue > CHANCE, cell
    rate = other["sum"] / other["count"]
    assert rate["policy", "distractor"] > 0.3 > 0.1 > rate["reference", "distractor"]
    numbers = json.loads(summary.read_text())
    assert numbers["requests"] - numbers["retries"] == len(there) == 144
    assert (numbers["sampler"], numbers["template"]) == ("openai", "ours")
    assert numbers["tokens_per_second"] > 0
    assert not list(output.glob("served.jsonl"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_served_model_is_evaluated_under_its_own_template_and_priced(organism, tmp_path):
    store, port = Store(tmp_path / "workspace"), free_port()
    spec = organism.evaluate(organism.policy)
    with serving(policy=(organism.policy, port)):
        places = {"url": url(port), "template": "theirs", "dollars_per_hour": 3600}
        output = store.output(execute(served(spec, **places), store))
        with pytest.raises(UserError, match=r"serves another model than .*reference"):
            execute(served(organism.evaluate(organism.reference), url=url(port)), store)
    numbers = json.loads((output / "summary.json").read_text())
    assert numbers["dollars"] == pytest.approx(numbers["seconds"], rel=0.01)
    assert set(table(output / "rates.parquet")["behavior"]) == {b.name for b in organism.behaviors}


def test_a_served_model_needs_an_address_and_cannot_be_steered(organism, tmp_path):
    store = Store(tmp_path)
    with pytest.raises(UserError, match="generate --sampler openai: give --url"):
        execute(served(organism.generate()), store)
    steered = {"vector": "rank-0123456789abcdef", "steering": "add"}
    spec = served(organism.evaluate(organism.policy), url=url(9), **steered)
    with pytest.raises(UserError, match="cannot be steered"):
        evaluate.run(spec, store=store, output=tmp_path, progress=lambda *_: None)


@pytest.mark.parametrize("kind", [GenerateSpec, EvaluateSpec])
def test_runs_of_loaded_models_keep_their_ids_and_a_place_is_in_none(kind):
    needed = {"reference": "r", "policy": "p", "model": "m", "prompts": "f", "judge": "refusal"}
    values = {name: value for name, value in needed.items() if name in kind.model_fields}
    values |= {"behaviors": ()} if kind is EvaluateSpec else {}
    loaded = kind(**values)
    known = {GenerateSpec: "be644e77321d2c07", EvaluateSpec: "e6d146584fde9ddd"}
    assert identity(loaded, {}) == known[kind]
    assert identity(served(loaded), {}) != identity(loaded, {})
    assert identity(served(loaded, url=url(1)), {}) == identity(served(loaded, url=url(2)), {})
