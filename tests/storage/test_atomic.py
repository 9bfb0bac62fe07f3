"""Half-written files of killed processes are deleted once they are old, and no others."""

import json
import os
import time

import pytest

from core.data.canonical import import_pairs
from core.runs import hashing
from core.storage.atomic import ABANDONED, sweep, writing_atomic
from core.storage.object_store import RemoteFiles
from core.workspace.checks import UPLOADS, keep_upload


def half(path, *, age):
    """As a killed writer left it, so many seconds ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half")
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_half_written_files_are_deleted_after_a_day_and_others_stay(tmp_path):
    old = half(tmp_path / "a.parquet.17.part", age=ABANDONED + 60)
    stays = [
        half(tmp_path / "a.parquet.18.part", age=ABANDONED - 60),
        half(tmp_path / "a.parquet", age=ABANDONED + 60),
        half(tmp_path / "deeper" / "a.parquet.17.part", age=ABANDONED + 60),
    ]
    with writing_atomic(tmp_path / "b.parquet") as part:
        part.write_bytes(b"b")
        sweep(tmp_path)
    assert not old.exists()
    assert all(path.exists() for path in stays)
    assert (tmp_path / "b.parquet").read_bytes() == b"b"


def test_only_what_the_pattern_names_goes(tmp_path):
    budgets = half(tmp_path / "token-budgets.json.17.part", age=ABANDONED + 60)
    pairs = half(tmp_path / "pairs-1-2.arrow.17.part", age=ABANDONED + 60)
    sweep(tmp_path, "token-budgets.json.*")
    assert not budgets.exists()
    assert pairs.exists()


def keep_fingerprint(folder, monkeypatch):
    monkeypatch.setenv("PAIRTRACE_WORKSPACE", str(folder))
    monkeypatch.setattr(hashing, "LARGE", 1)
    monkeypatch.setattr(hashing, "SETTLED", -1)
    hashing._hash.cache_clear()
    (folder / "pairs.jsonl").write_text("{}")
    hashing.fingerprint_file(folder / "pairs.jsonl")


def upload(folder, _monkeypatch):
    keep_upload("pairs.jsonl", b"{}", folder)


def import_some(folder, _monkeypatch):
    row = {"uid": "u", "prompt": "p", "chosen": "a", "rejected": "b", "source": "s"}
    (folder / "given.jsonl").write_text(json.dumps(row))
    import_pairs(folder / "given.jsonl", folder / "inputs" / "pairs.parquet")


def open_remote(folder, _monkeypatch):
    RemoteFiles(folder / "index", f"file://{folder / 'there'}")


@pytest.mark.parametrize(
    ("left", "write"),
    [
        ("cache/fingerprints/0123.17.part", keep_fingerprint),
        (f"{UPLOADS}/other.jsonl.17.part", upload),
        ("inputs/pairs.parquet.17.part", import_some),
        ("index/shards/00000-layer3.npy.17.part", open_remote),
    ],
)
def test_whoever_writes_to_a_folder_sweeps_it(tmp_path, monkeypatch, left, write):
    old = half(tmp_path / left, age=ABANDONED + 60)
    write(tmp_path, monkeypatch)
    assert not old.exists()
