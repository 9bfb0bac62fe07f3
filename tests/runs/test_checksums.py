"""Values that changed inside a finished run's files are found, though every file can be read."""

import json
import subprocess

import pandas as pd
import pytest
from click.testing import CliRunner

from core.cli import cli
from core.errors import UserError
from core.runs import checksums
from core.runs.store import Store

RUN = "rank-0123456789abcdef"


@pytest.fixture
def store(tmp_path):
    """One finished run of two files."""
    store = Store(tmp_path)
    part = store.part(RUN, keep=False)
    pd.DataFrame({"similarity": [0.5, 0.25]}).to_parquet(part / "ranking.parquet")
    (part / "model").mkdir()
    (part / "model" / "config.json").write_text("{}")
    store.publish(RUN)
    (store.folder(RUN) / "progress.jsonl").write_text(
        json.dumps({"event": "finished", "time": 1.0}) + "\n"
    )
    return store


def verified(store, *given):
    return CliRunner().invoke(cli, ["--workspace", str(store.workspace), "runs", "verify", *given])


def test_a_run_that_nobody_touched_is_as_written(store):
    assert checksums.problems(store.folder(RUN)) == {}
    done = verified(store)
    assert done.exit_code == 0
    assert "as written" in done.output


def test_coreutils_read_the_same_file(store):
    command = ["sha256sum", "--check", "--strict", checksums.NAME]
    done = subprocess.run(command, cwd=store.folder(RUN), capture_output=True, check=True)
    assert done.stdout.count(b": OK") == 2


def test_another_number_in_a_readable_table_is_named(store):
    path = store.output(RUN) / "ranking.parquet"
    pd.DataFrame({"similarity": [0.5, 0.26]}).to_parquet(path)
    for given in ([], [RUN]):
        done = verified(store, *given)
        assert isinstance(done.exception, UserError)
        assert f"{path}: its bytes are not those" in str(done.exception)
        assert "1 changed" in done.output


def test_a_file_that_went_and_one_that_came_are_named(store):
    (store.output(RUN) / "ranking.parquet").rename(store.output(RUN) / "other.parquet")
    assert checksums.problems(store.folder(RUN)) == {
        "other.parquet": "was not there when the run finished",
        "ranking.parquet": "missing",
    }


@pytest.mark.parametrize("content", [b"", b"\xff\x00{[", b"0" * 64])
def test_damaged_checksums_are_told_and_do_not_hide_the_other_runs(store, content):
    path = store.folder(RUN) / checksums.NAME
    path.write_bytes(content)
    done = verified(store)
    assert f"{path}: damaged" in str(done.exception)
    assert "1 changed" in done.output


def test_a_run_from_before_checksums_is_said_to_be_one(store):
    (store.folder(RUN) / checksums.NAME).unlink()
    done = verified(store)
    assert done.exit_code == 0
    assert "before checksums were kept" in done.output
