"""The examples of docs/judges.md are judge files, and decide as their comments say."""

import json
import re
from pathlib import Path

import pytest

from core import environment
from core.errors import UserError
from core.intervention.evaluation.judges import load_judge

PAGE = Path(__file__).parents[3] / "docs" / "judges.md"
EXAMPLES = re.findall(r"```toml\n(.+?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
(MODULE,) = re.findall(r"```python\n(.+?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
CLAIM = re.compile(r"(?:\[\w+\.(?P<flag>\w+)\]|# (?:(?!not )(\w+) )?(not )?shown by (\".*\"))")


def claims(text):
    """(flag, whether it is shown, completion) of an example's comments."""
    flag = ""
    for match in CLAIM.finditer(text):
        flag = match["flag"] or flag
        if match[4]:
            yield match[2] or flag, match[3] is None, json.loads(match[4])


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_example_of_the_docs_is_a_judge(tmp_path, text, monkeypatch):
    monkeypatch.setenv(environment.TRUST_JUDGE, "1")
    (tmp_path / "my_judge.py").write_text(MODULE, encoding="utf-8")
    path = tmp_path / "judge.toml"
    path.write_text(text, encoding="utf-8")
    judge = load_judge(str(path))
    assert judge.flags
    for flag, shown, completion in claims(text):
        assert judge.judge(["p"], [completion])[flag].tolist() == [shown], (flag, completion)


def test_the_docs_claim_something_of_every_judge_that_needs_no_model():
    for text in EXAMPLES:
        needs_model = "[classifier]" in text or "[endpoint]" in text
        assert needs_model or len(list(claims(text))) >= 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "neither a judge file nor a world"),
        ('[pattern.a]\nany = ["x"]', "has one of the tables patterns, rules"),
        ('[patterns.a]\nany = ["x"]\n[rule.b]\nwords = 1', "rule: a judge file has patterns"),
        ("[rules.model]\nwords = 1", "flag 'model': completions have such a column"),
        ('[combined]\na = "not b"', "there is no flag 'b'"),
    ],
)
def test_a_file_that_is_no_judge_says_what_one_has(tmp_path, text, message):
    path = tmp_path / "judge.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        load_judge(str(path))
