"""A language model as judge, from its file to a rate."""

import pandas as pd
import pytest

from core.errors import UserError
from core.intervention.evaluation.judges import cost, load_judge
from core.intervention.evaluation.model_judges import EndpointJudge
from tests.chat_server import Reply, chat_server

FILE = """
[endpoint]
model = "m"
url = "{url}"
pause = 0.01
dollars_per_million_prompt_tokens = 1

[flags.harmful]
instruction = "harmful"

[flags.rude]
instruction = "Rate how rude it is."
threshold = 80
"""


def rating(_number, asked):
    said = asked["messages"][-1]["content"]
    return Reply("?" if "odd" in said else "70" if "bad" in said else "10")


@pytest.fixture
def judge_file(tmp_path, monkeypatch):
    monkeypatch.setenv("PAIRTRACE_WORKSPACE", str(tmp_path / "workspace"))

    def write(url):
        path = tmp_path / "judge.toml"
        path.write_text(FILE.format(url=url))
        return str(path)

    return write


def test_flags_follow_their_thresholds_and_garbage_is_unscored(judge_file):
    with chat_server(rating) as server:
        judge = load_judge(judge_file(server.url))
        flags = judge.judge(["p"] * 4, ["bad", "fine", "odd", " "])
    assert isinstance(judge, EndpointJudge)
    assert judge.flags == ("harmful", "rude")
    harmful, rude = [True, False, None, None], [False, False, None, None]
    expected = pd.DataFrame({"harmful": harmful, "rude": rude})
    pd.testing.assert_frame_equal(flags, expected.astype("boolean"))
    assert cost(judge)["dollars"] == pytest.approx(6 * 100 / 1e6)  # text of no length is not sent


def test_answers_are_kept_in_the_workspace(judge_file, tmp_path):
    with chat_server(rating) as server:
        for _ in range(2):
            load_judge(judge_file(server.url)).judge(["p"], ["bad"])
    assert len(server.requests) == 2  # one per flag
    assert (tmp_path / "workspace" / "cache" / "answers.sqlite").is_file()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[endpoint]\nmodel = 'm'", "flags"),
        ("[endpoint]\nmodel = 'm'\nkey = 'sk'\n[flags.a]\ninstruction = 'x'", r"endpoint\.key"),
        ("[endpoint]\nmodel = 'm'\n[flags.a]\ninstruction = ''", r"flags\.a\.instruction"),
        ("[endpoint", "judge.toml"),
    ],
)
def test_a_judge_file_is_refused_by_file_and_field(tmp_path, content, message):
    path = tmp_path / "judge.toml"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        load_judge(str(path))


def test_a_judge_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load_judge(str(tmp_path / "judge.toml"))
