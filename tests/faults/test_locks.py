"""SQLite files that another process holds: waited for, then told; nothing in them is lost."""

import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager

import pytest

from core.errors import UserError
from core.intervention.evaluation.judges import load_judge
from core.models.api import batch
from core.models.api.batch import Answers
from core.models.api.client import Answer, Endpoint
from core.models.api.questions import suggest_names
from core.workspace import catalog as catalog_module
from core.workspace.catalog import Catalog
from tests.chat_server import Reply, chat_server
from tests.faults.investigation import NAME

RUN = "discover-0123456789abcdef"
JUDGE = '[endpoint]\nmodel = "m"\nurl = "{}"\n[flags.rude]\ninstruction = "How rude is it?"\n'
HOLD = """
import sqlite3, sys, time
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
time.sleep(float(sys.argv[2]))
held.execute("ROLLBACK")
"""


@contextmanager
def held(path, seconds):
    """Another process keeps a file to itself for so long; by then it has let go."""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", HOLD, str(path), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        try:
            yield
        finally:
            assert process.wait() == 0


def judged(workspace, url):
    """What a judge file's model says of three completions; kept in answers.sqlite."""
    (workspace / "judge.toml").write_text(JUDGE.format(url))
    judge = load_judge(str(workspace / "judge.toml"))
    return judge.judge(["p"] * 3, ["one", "two", "three"])["rude"].tolist()


def named(workspace, url):
    """What a model would call three clusters; kept in names.sqlite."""
    groups = [{"words": word} for word in ("one", "two", "three")]
    kept = Answers(workspace / "cache" / "names.sqlite")
    return [one.name for one in suggest_names(Endpoint(model="m", url=url), groups, kept)[0]]


ASKING = {  # the file, who asks, what the model says, what comes out
    "answers.sqlite": (judged, "90", [True] * 3),
    "names.sqlite": (named, NAME, ["Says w1"] * 3),
}
FRESH = pytest.mark.parametrize("fresh", [True, False], ids=["fresh", "known"])
FILES = pytest.mark.parametrize("name", ASKING)


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.setenv("PAIRTRACE_WORKSPACE", str(tmp_path))
    return tmp_path


@FILES
@FRESH
def test_answers_that_somebody_holds_for_a_moment_are_waited_for(workspace, name, fresh):
    path, (ask, says, expected) = workspace / "cache" / name, ASKING[name]
    if not fresh:
        Answers(path).write("key", Answer("kept", 1, 1))
    with chat_server(lambda *_: Reply(says)) as server:
        with held(path, 1):
            began = time.monotonic()
            assert ask(workspace, server.url) == expected
            assert time.monotonic() - began > 0.5
        assert len(server.requests) == 3
    assert fresh or Answers(path).read(["key"])["key"].text == "kept"


@FILES
@FRESH
def test_answers_that_somebody_keeps_are_told_and_asked_once_they_are_free(
    workspace, monkeypatch, name, fresh
):
    path, (ask, says, expected) = workspace / "cache" / name, ASKING[name]
    if not fresh:
        Answers(path).write("key", Answer("kept", 1, 1))
    with chat_server(lambda *_: Reply(says)) as server:
        monkeypatch.setattr(batch, "BUSY_SECONDS", 0.2)
        with held(path, 1.5), pytest.raises(UserError) as caught:
            ask(workspace, server.url)
        assert f"{path}: database is locked. Another process is using" in str(caught.value)
        assert "Delete" not in str(caught.value)
        assert ask(workspace, server.url) == expected
    assert fresh or Answers(path).read(["key"])["key"].text == "kept"


def test_a_catalog_that_another_process_holds_is_waited_for_then_told(tmp_path, monkeypatch):
    path = tmp_path / "catalog.sqlite"
    Catalog(tmp_path).rename(RUN, 1, "before", who="ana")
    with held(path, 1):
        Catalog(tmp_path).rename(RUN, 1, "after", who="bo")
    monkeypatch.setattr(catalog_module, "BUSY_SECONDS", 0.2)
    with held(path, 1.5), pytest.raises(UserError, match=r"locked\. Another process is using"):
        Catalog(tmp_path).rename(RUN, 1, "lost?", who="bo")
    assert [event.change.name for event in Catalog(tmp_path).events()] == ["before", "after"]


def test_an_event_that_nobody_can_read_is_told_and_the_others_are_still_there(tmp_path):
    path, kept = tmp_path / "catalog.sqlite", tmp_path / "kept.sqlite"
    Catalog(tmp_path).rename(RUN, 1, "before", who="ana")
    shutil.copy(path, kept)
    for damage in ("{", "[1]", '{"kind": "no such change"}', "null"):
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("UPDATE events SET change = ?", [damage])
        with pytest.raises(UserError, match=r"catalog\.sqlite: event 1 is damaged.*Restore a copy"):
            Catalog(tmp_path).state()
    shutil.copy(kept, path)
    assert Catalog(tmp_path).state().of(RUN).names[1] == "before"


@pytest.mark.parametrize("name", ["answers.sqlite", "catalog.sqlite"])
def test_a_folder_in_the_place_of_a_file_is_told(tmp_path, name):
    (tmp_path / name).mkdir()
    use = {
        "answers.sqlite": lambda: Answers(tmp_path / name).read(["key"]),
        "catalog.sqlite": lambda: Catalog(tmp_path).events(),
    }
    with pytest.raises(UserError, match=rf"{name}: unable to open database file\. That is not"):
        use[name]()
