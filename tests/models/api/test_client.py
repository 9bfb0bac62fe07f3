"""Questions to a real HTTP server that answers, stalls, fails and babbles."""

import threading

import pytest

from core.environment import ENDPOINT_KEY as KEY
from core.environment import ENDPOINT_MODEL as MODEL
from core.environment import ENDPOINT_URL as URL
from core.errors import UserError
from core.models.api.batch import Answers, ask
from core.models.api.client import SENT, Endpoint
from tests.chat_server import Reply, chat_server


def conversations(*texts):
    """A conversation of one message for each text."""
    return [[{"role": "user", "content": text}] for text in texts]


def endpoint(server, **settings):
    return Endpoint(model="judge", url=server.url, **({"pause": 0.01, "timeout": 10} | settings))


@pytest.fixture
def answers(tmp_path):
    return Answers(tmp_path / "answers.sqlite")


def echo(_number, question):
    return Reply(question["messages"][-1]["content"].upper())


def test_each_conversation_gets_its_own_answer_and_the_same_one_is_asked_once(answers):
    with chat_server(echo) as server:
        texts, usage = ask(endpoint(server), conversations("a", "b", "a"), answers)
    assert texts == ["A", "B", "A"]
    assert (len(server.requests), usage.asked) == (2, 2)
    assert server.requests[0]["temperature"] == 0


def test_tokens_and_dollars_are_counted(answers):
    prices = {"dollars_per_million_prompt_tokens": 1, "dollars_per_million_completion_tokens": 10}
    with chat_server(echo) as server:
        _, usage = ask(endpoint(server, **prices), conversations("a", "b"), answers)
    assert (usage.prompt_tokens, usage.completion_tokens) == (200, 20)
    assert usage.dollars == pytest.approx(2 * (100 * 1 + 10 * 10) / 1e6)


def test_an_answer_is_asked_for_once_and_then_read_from_disk(answers):
    with chat_server(echo) as server:
        ask(endpoint(server), conversations("a"), answers)
        texts, usage = ask(endpoint(server), conversations("a", "b"), Answers(answers.path))
        assert len(server.requests) == 2
    assert texts == ["A", "B"]
    assert (usage.from_disk, usage.asked, usage.prompt_tokens) == (1, 1, 100)


def test_another_model_or_another_word_is_another_question(answers):
    with chat_server(echo) as server:
        ask(endpoint(server), conversations("a"), answers)
        ask(endpoint(server).model_copy(update={"model": "other"}), conversations("a"), answers)
        ask(endpoint(server), conversations("a "), answers)
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "trouble",
    [
        Reply(status=429, headers={"Retry-After": "0.01"}),
        Reply(status=429, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        Reply(status=500),
        Reply(status=503, body=b"<html>busy</html>"),
        Reply(body=b"not json"),
        Reply(body=b'{"choices": []}'),
        Reply(body=b'{"choices": [{"message": {"content": null}}]}'),
        Reply(body=b"[1]"),
    ],
    ids=["429", "429 with a date", "500", "503 html", "not json", "no choice", "null", "a list"],
)
def test_temporary_trouble_is_retried(answers, trouble):
    with chat_server(lambda n, question: trouble if n < 2 else echo(n, question)) as server:
        texts, usage = ask(endpoint(server), conversations("a"), answers)
    assert texts == ["A"]
    assert (len(server.requests), usage.unanswered) == (3, 0)


def test_a_rate_limit_that_stays_is_a_user_error_and_what_was_answered_is_kept(answers):
    def limited(number, question):
        return echo(number, question) if number < 3 else Reply(status=429)

    asked = conversations(*"abcdefghijklmnop")
    with chat_server(limited) as server:
        patient = endpoint(server, attempts=2, concurrency=1)
        with pytest.raises(UserError, match=r"HTTP 429, 2 times each.*The 3 answers so far"):
            ask(patient, asked, answers)
    with chat_server(echo) as again:
        texts, usage = ask(endpoint(again), asked, answers)
    assert texts == list("ABCDEFGHIJKLMNOP")
    assert (usage.from_disk, len(again.requests)) == (3, 13)


def test_a_slow_answer_is_none_and_the_others_are_kept(answers):
    hold = threading.Event()

    def slow(number, question):
        reply = echo(number, question)
        reply.hold = hold if reply.text == "SLOW" else None
        return reply

    with chat_server(slow) as server:
        impatient = endpoint(server, timeout=0.2, attempts=2)
        texts, usage = ask(impatient, conversations("a", "slow", "b"), answers)
        hold.set()
    assert texts == ["A", None, "B"]
    assert usage.unanswered == 1


def test_an_endpoint_that_is_down_is_named_with_what_to_do(answers):
    down = Endpoint(model="judge", url="http://127.0.0.1:9/v1", pause=0.01, attempts=2)
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9.*cannot be reached.*Is it running"):
        ask(down, conversations("a"), answers)


def test_a_refused_key_stops_at_once_and_is_in_no_message(answers, monkeypatch):
    monkeypatch.setenv(KEY, "sk-secret")
    with chat_server(lambda *_: Reply(status=401, body=b"bad key sk-secret")) as server:
        with pytest.raises(UserError, match="HTTP 401") as caught:
            ask(endpoint(server, concurrency=1), conversations(*"abcdefgh"), answers)
        assert server.keys[0] == "Bearer sk-secret"
        assert len(server.requests) < 8
    assert "sk-secret" not in str(caught.value)


def test_the_key_is_never_written(answers, monkeypatch):
    monkeypatch.setenv(KEY, "sk-secret")
    with chat_server(echo) as server:
        used = endpoint(server)
        ask(used, conversations("a"), answers)
    assert "sk-secret" not in used.model_dump_json() + repr(used)
    for file in answers.path.parent.iterdir():
        assert b"sk-secret" not in file.read_bytes()


def test_a_question_that_the_endpoint_will_not_take_has_no_answer(answers):
    def picky(number, question):
        reply = echo(number, question)
        return Reply(status=400) if reply.text == "BAD" else reply

    with chat_server(picky) as server:
        texts, usage = ask(endpoint(server), conversations("bad", "a"), answers)
        assert len(server.requests) == 2
    assert texts == [None, "A"]
    assert usage.unanswered == 1


def test_no_more_questions_are_under_way_than_allowed(answers):
    hold = threading.Event()
    arrived = threading.Semaphore(0)

    def stall(number, question):
        arrived.release()
        reply = echo(number, question)
        reply.hold = hold
        return reply

    with chat_server(stall) as server:
        asking = threading.Thread(
            target=ask, args=(endpoint(server, concurrency=3), conversations(*"abcdefgh"), answers)
        )
        asking.start()
        for _ in range(3):
            assert arrived.acquire(timeout=30)
        hold.set()
        asking.join()
    assert server.most_under_way == 3


def test_half_a_surrogate_is_sent_as_the_character_for_it(answers):
    with chat_server(echo) as server:
        texts, _ = ask(endpoint(server), conversations("a \ud83d", "\ud83d\ude00 é"), answers)
    assert texts == ["A \ufffd", "\U0001f600 É"]


def test_nothing_of_this_machine_is_sent_with_a_question(answers, monkeypatch):
    for name in ("API_KEY", "ADMIN_KEY", "ORG_ID", "PROJECT_ID"):
        monkeypatch.setenv(f"OPENAI_{name}", "secret")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Secret: secret\nAuthorization: secret")
    monkeypatch.delenv(KEY, raising=False)
    with chat_server(echo) as server:
        ask(endpoint(server), conversations("a"), answers)
    (headers,) = server.headers
    assert not {name.lower() for name in headers} - SENT
    assert "secret" not in str(headers)


def test_the_environment_may_name_endpoint_and_model(monkeypatch):
    monkeypatch.delenv(URL, raising=False)
    monkeypatch.delenv(MODEL, raising=False)
    assert Endpoint.from_environment() is None
    with pytest.raises(UserError, match=URL):
        Endpoint(model="m").address()
    monkeypatch.setenv(URL, "http://host/v1/")
    monkeypatch.setenv(MODEL, "m")
    named = Endpoint.from_environment()
    assert named is not None
    assert (named.model, named.address()) == ("m", "http://host/v1/chat/completions")


@pytest.mark.parametrize("spelled", ["2852039166", "0xA9FEA9FE", "169.254.43518"])
def test_what_resolves_to_a_metadata_service_is_not_asked(answers, spelled):
    with pytest.raises(UserError, match=f"^{spelled} is the metadata service".lower()):
        ask(Endpoint(model="m", url=f"http://{spelled}/v1", timeout=1), conversations("a"), answers)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_reported_and_not_followed(answers, status, monkeypatch):
    monkeypatch.setenv(KEY, "sk-secret")
    with chat_server(echo) as elsewhere:
        moved = Reply(status=status, headers={"Location": f"{elsewhere.url}/chat/completions"})
        with chat_server(lambda *_: moved) as server:
            with pytest.raises(UserError, match=f"moved .HTTP {status}.*not followed") as caught:
                ask(endpoint(server), conversations("a"), answers)
            assert len(server.requests) == 1
        assert not elsewhere.requests
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["sk-\u2026", "sk-a\nX: b"])
def test_a_key_that_no_header_can_contain_is_reported_without_it(answers, monkeypatch, key):
    monkeypatch.setenv(KEY, key)
    with pytest.raises(UserError, match=KEY) as caught:
        ask(Endpoint(model="m", url="http://127.0.0.1:9/v1"), conversations("a"), answers)
    assert "sk-" not in str(caught.value)


def test_a_damaged_file_of_answers_is_named(tmp_path):
    path = tmp_path / "answers.sqlite"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(UserError, match=r"answers\.sqlite.*Delete the file"):
        Answers(path).read(["a"])
