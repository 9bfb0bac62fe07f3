"""Judges written as a Python function: allowed by the command line, and never believed."""

import json
import os
import time

import pytest
from click.testing import CliRunner

from core import environment
from core.cli.main import cli
from core.errors import UserError
from core.intervention.evaluation.judges import load_judge
from core.runs.hashing import fingerprint_judge
from core.runs.jobs import start
from core.runs.store import Store
from tests.pages import workspaces

GOOD = """
import sys
from dataclasses import dataclass

import numpy as np

print("a judge may print")

@dataclass
class Rule:
    word: str

def judge(prompts, completions):
    shown = [Rule("yes").word in text for text in completions]
    return {"agreed": np.array(shown), "asked": [None if "?" in p else False for p in prompts]}
"""
FLAGS = 'flags = ["agreed", "asked"]'


@pytest.fixture
def trusted(monkeypatch):
    monkeypatch.setenv(environment.TRUST_JUDGE, "1")


@pytest.fixture
def write(tmp_path):
    """A judge file that names a module of this text; its path."""

    def written(code, fields=FLAGS):
        (tmp_path / "mine.py").write_text(code)
        path = tmp_path / "judge.toml"
        path.write_text(f'[python]\nmodule = "mine.py"\n{fields}\n')
        return str(path)

    return written


def test_a_function_gives_its_flags_in_a_process_of_its_own(write, trusted):
    judge = load_judge(write(GOOD))
    assert judge.flags == ("agreed", "asked")
    table = judge.judge(["a?", "b", "c"], ["yes", " ", "no"])
    assert table["agreed"].tolist()[::2] == [True, False]
    assert table["asked"].isna().tolist() == [True, True, False]
    assert table.iloc[1].isna().all()  # without text


def test_a_function_is_not_even_read_unless_the_command_line_allows_it(write):
    with pytest.raises(UserError, match=r"`pairtrace --trust-judge-code …`"):
        load_judge(write("raise SystemExit"))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise KeyError('lost')", "KeyError: 'lost'"),
        ("class Odd(Exception):\n        pass\n    raise Odd('of mine')", "of mine"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("import os; os._exit(7)", "its process died .exit code 7"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "exit code -11"),
        ("return None", "returned no dictionary"),
        ("return [True] * len(c)", "returned no dictionary"),
        ("return {'agreed': [True] * len(c)}", "returned agreed, not the flags agreed, asked"),
        ("return {'agreed': [True], 'asked': [True], 'x': []}", "returned agreed, asked, x"),
        ("return {'agreed': [True], 'asked': [True] * 2}", "'agreed': 1 answers for 2"),
        ("return {'agreed': True, 'asked': [True] * 2}", "'agreed': no list for 2"),
        ("return {'agreed': [1, 0], 'asked': [True] * 2}", "'agreed': answer 0 is 1"),
        ("return {'agreed': ['no'] * 2, 'asked': [True] * 2}", "answer 0 is 'no'"),
        ("x = []\n    x.append(x)\n    return {'agreed': x, 'asked': x}", "raised an error"),
    ],
)
def test_a_crash_or_a_wrong_shape_is_a_clear_error(write, trusted, body, message):
    judge = load_judge(write(f"def judge(p, c):\n    {body}\n"))
    with pytest.raises(UserError, match=message) as refusal:
        judge.judge(["p", "q"], ["a", "b"])
    assert "mine.py: judge" in str(refusal.value)


@pytest.mark.parametrize(
    "body",
    [
        "while True: pass",
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)",
    ],
)
def test_a_function_that_hangs_is_ended(write, trusted, body, tmp_path, monkeypatch):
    monkeypatch.setattr("core.runs.workers.GRACE", 0.5)
    mark = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(__import__('os').getpid()))"
    code = f"def judge(p, c):\n    {mark}\n    {body}\n"
    judge = load_judge(write(code, f"{FLAGS}\nseconds = 8"))
    begin = time.monotonic()
    with pytest.raises(UserError, match="did not return within 8 s"):
        judge.judge(["p"], ["a"])
    assert time.monotonic() - begin < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("", r"python\.flags"),
        ("flags = []", r"python\.flags"),
        ('flags = ["a", "a"]', "a flag is named twice"),
        (f'{FLAGS}\nfunction = "os.system"', r"python\.function"),
        (f"{FLAGS}\nseconds = 0", r"python\.seconds"),
        (f"{FLAGS}\nmore = 1", r"python\.more"),
        (f'{FLAGS}\n[patterns.agreed]\nany = ["yes"]', "given twice"),
    ],
)
def test_a_bad_file_is_refused_by_field(write, trusted, fields, message):
    with pytest.raises(UserError, match=message):
        load_judge(write(GOOD, fields))


def test_a_missing_module_or_function_is_named(write, trusted, tmp_path):
    path = write("judge = 3")
    with pytest.raises(UserError, match="no such function"):
        load_judge(path).judge(["p"], ["a"])
    (tmp_path / "mine.py").unlink()
    with pytest.raises(UserError, match=r"python\.module: .*mine\.py is no Python file"):
        load_judge(path)


def test_the_code_is_part_of_what_the_judge_is(write, tmp_path):
    path = tmp_path / write(GOOD)
    before = fingerprint_judge(path)
    (tmp_path / "mine.py").write_text(GOOD + "\n# changed")
    assert fingerprint_judge(path) != before


def test_only_the_flag_of_the_command_line_allows_it(write, tmp_path, monkeypatch):
    monkeypatch.setenv(environment.TRUST_JUDGE, "1")  # inherited: has no effect
    (tmp_path / "texts.jsonl").write_text('{"completion": "yes"}\n')
    words = ["judge", "preview", write(GOOD), "--completions", str(tmp_path / "texts.jsonl")]
    assert "--trust-judge-code" in str(CliRunner().invoke(cli, words).exception)
    done = CliRunner().invoke(cli, ["--trust-judge-code", *words, "--json"])
    assert json.loads(done.stdout)["flags"][0]["yes"] == 1


def test_neither_the_app_nor_a_background_job_runs_it(trusted, tmp_path):
    with pytest.raises(UserError, match="The app never runs the code of a judge"):
        environment.refuse_trust("The app")
    project = workspaces.make_project(tmp_path)
    with pytest.raises(UserError, match="never runs the code of a judge"):
        start(Store(tmp_path / "workspace"), project.generate())
