"""Completions of a model at a real HTTP server, which has the model, or misbehaves."""

import json
import threading

import pytest

from core.data.tokens import encode_prompts
from core.environment import ENDPOINT_KEY as KEY
from core.errors import UserError
from core.models.api.batch import Journal
from core.models.api.client import Answer, Endpoint
from core.models.api.served import connect, sample_served
from core.models.generation import sample
from core.models.loading import load_model
from tests.chat_server import Reply, chat_server
from tests.tiny_models import save_child, save_tiny_model

PROMPTS = [f"w{i} w{i + 1}" for i in range(30)]
TOKENS = 6


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("reference") / "model")


class Honest:
    """Answers as a server of a model does: a request at temperature 0 by the model itself."""

    def __init__(self, folder):
        self.loaded = load_model(folder)
        self.texts = {}

    def __call__(self, number, question):
        prompt = self.prompt(question)
        (ids,) = encode_prompts(self.loaded.tokenizer, [prompt])
        if question["temperature"] > 0:
            return Reply(f"w{question['seed'] % 50}", tokens=(len(ids), 2))
        row = self.greedy(prompt, question["max_tokens"])
        finish = "stop" if row.finished else "length"
        return Reply(row.completion, finish, (len(ids), row.n_tokens + row.finished))

    @staticmethod
    def prompt(question):
        if "messages" in question:
            return question["messages"][0]["content"]
        return question["prompt"].removeprefix("<user> ").removesuffix(" <assistant> ")

    def greedy(self, prompt, n):
        if not self.texts:  # of all prompts at once
            settings = {"temperature": 0, "seed": 0, "progress": lambda *_: None}
            rows = sample(self.loaded, PROMPTS, rollouts=1, max_new_tokens=n, **settings)
            self.texts = {row.prompt: row for row in rows.itertuples()}
        return self.texts[prompt]


@pytest.fixture(scope="module")
def honest(model):
    return Honest(model)


def connected(server, folder, template="ours", **settings):
    endpoint = Endpoint(
        model="x", url=server.url, **({"pause": 0.01, "timeout": 10, "attempts": 2} | settings)
    )
    sampling = {"dtype": "float32", "temperature": 0.7, "max_new_tokens": TOKENS}
    return connect(folder, endpoint, PROMPTS, template=template, **sampling)


def sampled(served, kept, rollouts=2):
    tables, took = sample_served(
        [served],
        PROMPTS,
        rollouts=rollouts,
        temperature=0.7,
        max_new_tokens=TOKENS,
        seed=0,
        kept=kept,
        progress=lambda *_: None,
    )
    return tables[0], took


def trouble(honest, change, after=0):
    """The honest server, but from a request on, what it samples is changed."""

    def behave(number, question):
        reply = honest(number, question)
        return change(reply) if question["temperature"] > 0 and number >= after else reply

    return behave


@pytest.mark.parametrize("template", ["ours", "theirs"])
def test_a_completion_per_prompt_and_rollout_each_with_its_own_seed(
    honest, model, tmp_path, template
):
    with chat_server(honest) as server:
        table, took = sampled(connected(server, model, template), tmp_path / "kept")
        asked = server.requests[-60:]
    assert table["prompt"].tolist() == [prompt for prompt in PROMPTS for _ in range(2)]
    assert table["rollout"].tolist() == [0, 1] * 30
    seeds = {(Honest.prompt(question), question["seed"]) for question in asked}
    assert len(seeds) == 60
    written = set(zip(table["prompt"], table["completion"], strict=True))
    assert written == {(prompt, f"w{seed % 50}") for prompt, seed in seeds}
    assert table["finished"].all()
    assert set(table["n_tokens"]) == {1}
    assert all(("messages" in question) == (template == "theirs") for question in asked)
    assert (took["requests"], took["retries"], took["completion_tokens"]) == (60, 0, 120)


def test_the_temperature_alone_shapes_the_distribution(honest, model, tmp_path):
    with chat_server(honest) as server:
        sampled(connected(server, model), tmp_path / "kept")
        last = server.requests[-1]
    off = {"top_p": 1, "top_k": -1, "repetition_penalty": 1.0, "add_special_tokens": False}
    assert {name: last[name] for name in off} == off
    assert (last["temperature"], last["max_tokens"]) == (0.7, TOKENS)


def test_the_name_is_the_one_that_the_server_has(honest, model):
    with chat_server(honest) as server:
        for names, chosen in (
            ([], str(model)),
            (["only"], "only"),
            (["other", model.name], model.name),
            (["other", str(model)], str(model)),
        ):
            server.models = names
            assert connected(server, model).endpoint.model == chosen


def test_no_more_requests_are_under_way_than_allowed(honest, model, tmp_path):
    three = threading.Barrier(3, timeout=30)

    def together(number, question):
        if question["temperature"] > 0 and number >= 25:
            three.wait()
        return honest(number, question)

    with chat_server(together) as server:
        sampled(connected(server, model, concurrency=3), tmp_path / "kept")
    assert server.most_under_way == 3


def test_a_rate_limit_is_waited_for_and_counted(honest, model, tmp_path):
    def limited(number, question):
        return Reply(status=429) if number % 10 == 9 else honest(number, question)

    with chat_server(limited) as server:
        _, took = sampled(connected(server, model, attempts=9), tmp_path / "kept")
    assert took["requests"] - took["retries"] == 60
    assert took["retries"] >= 5


def test_after_the_server_died_only_the_rest_is_asked_for(honest, model, tmp_path):
    kept = tmp_path / "kept"
    begun = 25 + 20  # probes, and completions

    def dying(number, question):
        return honest(number, question) if number < begun else Reply(status=503)

    with chat_server(dying) as server:
        served = connected(server, model, concurrency=1)
        with pytest.raises(UserError, match=r"does not answer: HTTP 503, 2 times .* kept"):
            sampled(served, kept)
    with kept.open("ab") as stream:
        stream.write(b'{"row": [0, 59, "w')  # what a kill broke off
    with chat_server(honest) as again:
        table, took = sampled(connected(again, model), kept)
        assert len(again.requests) - 25 == 60 - 20
    assert len(table) == 60
    assert took["requests"] == 60
    with chat_server(honest) as whole:
        expected, _ = sampled(connected(whole, model), tmp_path / "other")
    assert table.equals(expected)


def test_of_two_servers_each_is_asked_what_it_has_not_written(honest, model, tmp_path):
    kept = tmp_path / "kept"
    with chat_server(honest) as one, chat_server(honest) as other:
        servers = [connected(one, model), connected(other, model)]
        settings = {"rollouts": 1, "temperature": 0.7, "max_new_tokens": TOKENS, "seed": 0}
        with Journal(kept) as journal:
            for row in range(12):
                journal.add(0, row, Answer("w1", 4, 2, "stop"), attempts=1)
        tables, took = sample_served(
            servers, PROMPTS, kept=kept, progress=lambda *_: None, **settings
        )
        asked = [len(server.requests) - 25 for server in (one, other)]
    assert asked == [30 - 12, 30]
    assert tables[0]["completion"].tolist()[12:] == tables[1]["completion"].tolist()[12:]
    assert took["requests"] == 60


def test_a_damaged_file_of_completions_is_named_with_its_line(tmp_path):
    kept = tmp_path / "served.jsonl"
    kept.write_text('{"seconds": 1}\n{"row": [0]}\n')
    with pytest.raises(UserError, match=r"served\.jsonl, line 2: damaged"):
        Journal(kept)


def test_a_server_that_is_not_there_is_named(model):
    down = Endpoint(model="x", url="http://127.0.0.1:9/v1")
    sampling = {"dtype": "float32", "temperature": 1, "max_new_tokens": 4, "template": "ours"}
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9/v1 cannot be reached .* Is it running"):
        connect(model, down, PROMPTS, **sampling)


def test_a_server_that_answers_late_is_named(honest, model, tmp_path):
    hold = threading.Event()
    late = trouble(honest, lambda reply: Reply(hold=hold), after=30)
    with chat_server(late) as server:
        served = connected(server, model, timeout=0.5, concurrency=1)
        with pytest.raises(UserError, match="does not answer: no answer in time, 2 times"):
            sampled(served, tmp_path / "kept")
        hold.set()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda reply: Reply("w1", tokens=(3, 2)), r"read 3 tokens of a prompt that has 4 .*cut"),
        (lambda reply: Reply("w1", "length", (4, 2)), r"stopped after 2 of 6 .* context is too sh"),
        (lambda reply: Reply("", "content_filter", (4, 0)), "for the reason 'content_filter'"),
        (lambda reply: Reply(status=400, body=b'{"error": {"message": "no"}}'), r"400 \(no\)"),
        (lambda reply: Reply(body=b"<html>"), "no chat completion"),
    ],
    ids=["cuts prompts", "cuts completions", "filters", "refuses", "babbles"],
)
def test_a_completion_that_is_not_the_models_is_refused(honest, model, tmp_path, change, said):
    with chat_server(trouble(honest, change, after=30)) as server:
        served = connected(server, model)
        with pytest.raises(UserError, match=said):
            sampled(served, tmp_path / "kept")


def test_a_parameter_that_the_server_refuses_is_left_out_where_another_way_is_known(honest, model):
    def strict(number, question):
        extra = question.keys() & {"top_k", "generation_config"}
        body = json.dumps({"detail": f"unknown: {extra}"}).encode()
        return Reply(status=422, body=body) if extra else honest(number, question)

    with chat_server(strict) as server:
        assert connected(server, model).parameters == {}


def test_a_server_that_takes_no_form_is_told_in_its_own_words_without_the_key(
    honest, model, monkeypatch
):
    monkeypatch.setenv(KEY, "sk-secret")
    body = b'{"error": {"message": "seed is not supported for sk-secret"}}'
    with (
        chat_server(lambda *_: Reply(status=400, body=body)) as server,
        pytest.raises(UserError, match=r"takes no request .*seed is not supported") as caught,
    ):
        connected(server, model)
    assert "sk-secret" not in str(caught.value)


def test_a_model_with_other_tokens_is_refused(honest, model):
    def longer(number, question):
        reply = honest(number, question)
        return Reply(reply.text, reply.finish, (reply.tokens[0] + 1, reply.tokens[1]))

    with (
        chat_server(longer) as server,
        pytest.raises(UserError, match=r"read 5 tokens of a prompt that has 4 .*--template theirs"),
    ):
        connected(server, model)


def test_a_model_with_other_weights_is_refused_even_if_it_is_a_small_step_away(
    honest, model, tmp_path
):
    child = save_child(tmp_path / "policy")
    with (
        chat_server(honest) as server,
        pytest.raises(UserError, match=rf"serves another model than {child}: .* logits per token"),
    ):
        connected(server, child)
