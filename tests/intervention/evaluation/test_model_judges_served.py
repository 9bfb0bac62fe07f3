"""A language model as judge, served by `transformers serve` on this machine."""

import pandas as pd
import pytest
from transformers.cli.serve import Serve

from benchmarks._browser import free_port, wait_until_up
from core.errors import UserError
from core.intervention.evaluation.judges import load_judge
from tests.tiny_models import save_tiny_model

FILE = """
[endpoint]
model = "{model}"
url = "http://127.0.0.1:{port}/v1"
attempts = 1
timeout = {timeout}
concurrency = 1
max_tokens = 3

[flags.odd]
instruction = "harmful"
threshold = 50
"""
TEXTS = [f" {2 * i} {2 * i + 10} " for i in range(12)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A chat model with random weights whose answers are up to three numbers below 100."""
    folder = save_tiny_model(tmp_path_factory.mktemp("chat") / "model", "llama")
    path = folder / "tokenizer.json"
    text = path.read_text()
    for number in range(50):
        text = text.replace(f'"w{number}"', f'"{2 * number}"')
    path.write_text(text)
    return folder


@pytest.fixture
def serve(model):
    """Start to serve the model at a port; what is started is stopped."""
    servers = []

    def start(port):
        servers.append(
            Serve(str(model), host="127.0.0.1", port=port, device="cpu", non_blocking=True)
        )
        wait_until_up(f"http://127.0.0.1:{port}/health")
        return servers[-1]

    yield start
    for server in servers:
        server.kill_server()


@pytest.fixture
def judge(model, tmp_path, monkeypatch):
    """A judge at a port, with the answers that were kept."""
    monkeypatch.setenv("PAIRTRACE_WORKSPACE", str(tmp_path / "workspace"))

    def load(port, timeout=60):
        path = tmp_path / "judge.toml"
        path.write_text(FILE.format(model=model, port=port, timeout=timeout))
        return load_judge(str(path))

    return load


def test_a_served_model_judges_and_only_the_rest_is_asked_after_it_dies(serve, judge):
    port = free_port()
    server = serve(port)
    first = judge(port)
    begun = first.judge(["2"] * 5, TEXTS[:5])["odd"]
    server.kill_server()
    with pytest.raises(UserError, match=r"does not answer.* The 5 answers so far are kept"):
        judge(port).judge(["2"] * 12, TEXTS)
    serve(port)
    second = judge(port)
    flags = second.judge(["2"] * 12, TEXTS)["odd"]
    pd.testing.assert_series_equal(flags.head(5), begun)
    assert {True, False} <= set(flags.dropna())
    assert flags.isna().any()  # several numbers: unscored
    assert (first.usage.asked, second.usage.asked, second.usage.from_disk) == (5, 7, 5)
    assert 7 <= second.usage.completion_tokens <= 7 * 3
    assert second.usage.prompt_tokens > 7 * 20


def test_a_server_that_is_too_slow_is_named(serve, judge):
    port = free_port()
    serve(port)
    with pytest.raises(UserError, match="does not answer: no answer in time, 1 times each"):
        judge(port, timeout=0.001).judge(["2"], TEXTS[:1])
