"""Values that changed inside a finished run's files are found, though every file can be read.

A large file is read once per workspace, and again after anything touched it.
"""

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from core import environment
from core.cli.main import cli
from core.errors import UserError
from core.runs import hashing
from core.runs.hashing import LARGE, fingerprint_file, fingerprint_model
from core.runs.store import Store

RUN = "rank-0123456789abcdef"


@pytest.fixture
def store(tmp_path):
    """One finished run of two files."""
    store = Store(tmp_path)
    part = store.part(RUN, keep=False)
    pd.DataFrame({"similarity": [0.5, 0.25]}).to_parquet(part / "ranking.parquet")
    store.write_record(RUN, {"step": "rank", "spec": {"layer": 3}})
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
    assert hashing.problems(store.folder(RUN)) == {}
    done = verified(store)
    assert done.exit_code == 0
    assert "as written" in done.output


def test_coreutils_read_the_same_file(store):
    command = ["sha256sum", "--check", "--strict", hashing.CHECKSUMS]
    done = subprocess.run(command, cwd=store.folder(RUN), capture_output=True, check=True)
    assert done.stdout.count(b": OK") == 3


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
    assert hashing.problems(store.folder(RUN)) == {
        "output/other.parquet": "was not there when the run finished",
        "output/ranking.parquet": "missing",
    }


@pytest.mark.parametrize("content", [b"", b"\xff\x00{[", b"0" * 64])
def test_damaged_checksums_are_told_and_do_not_hide_the_other_runs(store, content):
    path = store.folder(RUN) / hashing.CHECKSUMS
    path.write_bytes(content)
    done = verified(store)
    assert f"{path}: damaged" in str(done.exception)
    assert "1 changed" in done.output


def test_another_knob_in_the_spec_is_named(store):
    path = store.folder(RUN) / "spec.json"
    path.write_text(path.read_text().replace("3", "4"))
    done = verified(store)
    assert f"{path}: its bytes are not those" in str(done.exception)
    path.unlink()
    assert hashing.problems(store.folder(RUN)) == {"spec.json": "missing"}


def test_checksums_of_an_earlier_version_say_nothing_of_the_spec(store):
    path = store.folder(RUN) / hashing.CHECKSUMS
    lines = [line for line in path.read_text().splitlines() if "spec.json" not in line]
    path.write_text("".join(f"{line}\n" for line in lines))
    (store.folder(RUN) / "spec.json").write_text("{}")
    assert len(lines) == 2
    assert hashing.problems(store.folder(RUN)) == {}


def sealed(store, *given):
    return CliRunner().invoke(cli, ["--workspace", str(store.workspace), "runs", "seal", *given])


def test_a_run_from_before_checksums_is_said_to_be_one_and_can_be_sealed(store):
    path = store.folder(RUN) / hashing.CHECKSUMS
    written = sorted(path.read_text().splitlines())
    path.unlink()
    done = verified(store)
    assert done.exit_code == 0
    assert "cannot be verified" in done.output
    assert "`pairtrace runs seal`" in done.output
    assert "sealed as they are" in sealed(store).output
    assert sorted(path.read_text().splitlines()) == written
    assert "as written" in verified(store).output


def test_a_seal_is_never_written_anew(store):
    (store.output(RUN) / "ranking.parquet").write_bytes(b"changed")
    assert "left alone" in sealed(store, RUN).output
    assert set(hashing.problems(store.folder(RUN))) == {"output/ranking.parquet"}


def test_nobody_who_only_looks_on_seals_and_no_run_that_is_not_finished_is_sealed(store):
    (store.folder(RUN) / hashing.CHECKSUMS).unlink()
    with pytest.raises(UserError):
        Store(store.workspace, writable=False).seal(RUN)
    store.output(RUN).rename(store.folder(RUN) / "output.part")
    with pytest.raises(UserError, match="not finished"):
        store.seal(RUN)
    assert not (store.folder(RUN) / hashing.CHECKSUMS).exists()


OTHER = "0" * 64


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is large enough to be kept, at rest."""
    monkeypatch.setenv(environment.WORKSPACE, str(tmp_path / "workspace"))
    monkeypatch.setattr(hashing, "SETTLED", 0)
    path = tmp_path / "large.safetensors"
    with path.open("wb") as stream:
        stream.truncate(LARGE)
    return path


def in_a_new_process(path: Path) -> str:
    hashing._hash.cache_clear()
    return fingerprint_file(path)


def note(tmp_path: Path) -> Path:
    (kept,) = (tmp_path / "workspace" / "cache" / "fingerprints").iterdir()
    return kept


def test_what_was_kept_is_not_read_again(large: Path, tmp_path: Path) -> None:
    assert in_a_new_process(large) == hashlib.sha256(large.read_bytes()).hexdigest()
    stamp = note(tmp_path).read_text().rsplit(" ", 1)[0]
    note(tmp_path).write_text(f"{stamp} {OTHER}")
    assert in_a_new_process(large) == OTHER


def test_a_change_that_keeps_size_and_time_is_seen(large: Path) -> None:
    before, status = in_a_new_process(large), large.stat()
    with large.open("r+b") as stream:
        stream.write(b"x")
    os.utime(large, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert large.stat().st_mtime_ns == status.st_mtime_ns
    assert in_a_new_process(large) == hashlib.sha256(large.read_bytes()).hexdigest() != before


@pytest.mark.parametrize("damage", [b"", b"\xff\x00", b"1 2 3 4 abc", b"nothing"])
def test_a_damaged_note_is_written_anew(large: Path, tmp_path: Path, damage: bytes) -> None:
    right = in_a_new_process(large)
    whole = note(tmp_path).read_bytes()
    note(tmp_path).write_bytes(damage)
    assert in_a_new_process(large) == right
    assert note(tmp_path).read_bytes() == whole


def test_a_file_that_has_just_changed_is_not_kept(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "SETTLED", 60_000_000_000)
    in_a_new_process(large)
    assert not (tmp_path / "workspace").exists()


def test_a_workspace_that_cannot_be_written_does_not_matter(large: Path, tmp_path: Path) -> None:
    (tmp_path / "workspace").write_text("not a folder")
    assert in_a_new_process(large) == hashlib.sha256(large.read_bytes()).hexdigest()


def test_a_model_that_was_moved_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"config.json is missing.*correct its path in project.toml"
    ):
        fingerprint_model(tmp_path / "gone")
