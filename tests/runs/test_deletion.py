"""A run is deleted with its shards, wherever they are, and never those of another."""

import shutil

import fsspec
import pytest
from click.testing import CliRunner
from fsspec.implementations.local import LocalFileSystem

from core.attribution.index.layout import verify
from core.cli.main import cli
from core.errors import UserError
from core.runs.execute import execute
from core.runs.store import Store
from core.specs.steps import IndexSpec
from core.storage.object_store import PLACE, RemoteFiles, shard_files
from tests.attribution.index.test_layout import random_pairs
from tests.tiny_models import save_tiny_model


@pytest.fixture(params=["file", "memory"])
def under(request, tmp_path, monkeypatch):
    """Where indexes keep their shards: an empty folder, beside one that somebody else filled."""
    url = f"file://{tmp_path / 'bucket'}" if request.param == "file" else "memory://bucket"
    system, root = fsspec.url_to_fs(url)
    system.makedirs(f"{root}/others", exist_ok=True)
    system.pipe_file(f"{root}/others/kept", b"kept")
    monkeypatch.setenv("PAIRTRACE_SHARDS", url)
    return url


@pytest.fixture
def index(tmp_path, store, under):
    """A finished index whose shards are there."""
    pairs = tmp_path / "pairs.jsonl"
    random_pairs(8).to_json(pairs, orient="records", lines=True)
    model = save_tiny_model(tmp_path / "model")
    return execute(IndexSpec(model=str(model), pairs=str(pairs), layers=(1,)), store)


def shards(store: Store, run: str) -> RemoteFiles:
    files = shard_files(store.output(run))
    assert isinstance(files, RemoteFiles)
    return files


def test_its_shards_go_with_a_run_and_nothing_else_does(index, store):
    files = shards(store, index)
    assert len(files.system.ls(files.root)) == 2
    assert store.delete(index) == ""
    assert not store.folder(index).exists()
    assert not files.system.exists(files.root)
    bucket = files.root.rpartition("/")[0]
    assert files.system.cat_file(f"{bucket}/others/kept") == b"kept"


@pytest.mark.parametrize("under", ["file"], indirect=True)
def test_a_run_half_deleted_is_not_finished_and_can_be_deleted_again(index, store, monkeypatch):
    files = shards(store, index)

    def offline(*_, **__):
        raise PermissionError("offline")

    with monkeypatch.context() as broken:
        broken.setattr(LocalFileSystem, "rm", offline)
        with pytest.raises(UserError, match=rf"{files.url}: shards cannot be deleted there"):
            store.delete(index)
    assert store.state(index) != "finished"
    assert files.system.exists(files.root)
    assert store.delete(index) == ""
    assert not files.system.exists(files.root)
    assert not store.folder(index).exists()


def test_shards_that_are_gone_already_do_not_keep_a_run_alive(index, store):
    files = shards(store, index)
    files.system.rm(files.root, recursive=True)
    store.delete(index)
    assert not store.folder(index).exists()


def test_a_copied_workspace_leaves_the_originals_shards(index, store, tmp_path):
    files = shards(store, index)
    shutil.copytree(store.workspace, tmp_path / "copy")
    copy = Store(tmp_path / "copy")
    assert copy.delete(index) == files.url
    assert not copy.folder(index).exists()
    assert verify(store.output(index)).empty


@pytest.mark.parametrize("under", ["file"], indirect=True)
def test_a_folder_that_was_not_made_for_the_run_is_never_deleted(index, store, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (store.output(index) / PLACE).write_text(f"file://{mine}")
    with pytest.raises(UserError, match="is not a folder of this index's shards"):
        store.delete(index)
    assert mine.exists()


@pytest.mark.parametrize("under", ["file"], indirect=True)
def test_the_command_asks_before_it_deletes(index, store):
    words = ["-w", str(store.workspace), "runs", "delete", index]
    assert CliRunner().invoke(cli, words, input="n\n").exit_code == 1
    assert store.state(index) == "finished"
    assert "deleted" in CliRunner().invoke(cli, [*words, "--yes"]).output
    missing = CliRunner().invoke(cli, [*words, "--yes"])
    assert isinstance(missing.exception, UserError)
    assert "there is no such run" in str(missing.exception)


def test_a_run_that_is_worked_on_is_not_deleted(store, edit_spec):
    run = execute(edit_spec, store)
    with store.lock(run), pytest.raises(UserError, match="is running"):
        Store(store.workspace).delete(run)
    assert store.state(run) == "finished"


def test_who_looks_on_deletes_nothing(store, edit_spec):
    run = execute(edit_spec, store)
    with pytest.raises(UserError):
        Store(store.workspace, writable=False).delete(run)
    assert store.state(run) == "finished"
