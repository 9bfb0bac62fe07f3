"""A large file is read once per workspace, and again after anything touched it."""

import hashlib
import os
from pathlib import Path

import pytest

from core.errors import UserError
from core.runs import environment, fingerprints
from core.runs.fingerprints import LARGE, fingerprint_file, fingerprint_model

OTHER = "0" * 64


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is large enough to be kept, at rest."""
    monkeypatch.setenv(environment.WORKSPACE, str(tmp_path / "workspace"))
    monkeypatch.setattr(fingerprints, "SETTLED", 0)
    path = tmp_path / "large.safetensors"
    with path.open("wb") as stream:
        stream.truncate(LARGE)
    return path


def in_a_new_process(path: Path) -> str:
    fingerprints._hash.cache_clear()
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
    monkeypatch.setattr(fingerprints, "SETTLED", 60_000_000_000)
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
