"""Shards under a URL are those of the index folder, byte for byte, and are lost as little."""

from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

from core.attribution.index.build import open_tasks
from core.attribution.index.layout import VectorIndex, checksum, read_manifest, verify
from core.attribution.similarity import mean_context, save_mean_contexts
from core.errors import UserError
from core.storage.object_store import RemoteFiles, shard_files
from tests.attribution.index.test_layout import compute, made, plan, random_pairs
from tests.attribution.index.test_layout import model as model
from tests.attribution.index.test_layout import small_shards as small_shards
from tests.buckets import INSTALLED, serving_s3


@pytest.fixture(scope="module")
def s3() -> Iterator[None]:
    if not INSTALLED:
        pytest.skip("s3fs and moto are not installed")
    with serving_s3():
        yield


@pytest.fixture(params=["memory", "file", "s3"])
def under(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        (tmp_path / "bucket").mkdir()
        return f"file://{tmp_path / 'bucket'}"
    if request.param == "s3":
        request.getfixturevalue("s3")
        return "s3://bucket/indexes"
    fsspec.filesystem("memory").makedirs("/bucket", exist_ok=True)
    return "memory://bucket"


def remote(folder: Path) -> RemoteFiles:
    files = shard_files(folder)
    assert isinstance(files, RemoteFiles)
    return files


def copies(folder: Path) -> list[Path]:
    return list((folder / "shards").iterdir())


def test_the_bytes_are_those_of_shards_in_the_folder(
    model: Path, tmp_path: Path, under: str
) -> None:
    here, there = tmp_path / "a", tmp_path / "b"
    expected = made(random_pairs(), here, model).datapoint(3)
    index = made(random_pairs(), there, model, under=under)
    assert checksum(there) == checksum(here)
    assert verify(there).empty
    assert copies(there) == []
    uids, vectors = index.datapoint(3)
    assert list(uids) == list(expected[0])
    np.testing.assert_array_equal(vectors, expected[1])


def test_a_layer_is_fetched_once_and_only_when_it_is_read(
    model: Path, tmp_path: Path, under: str
) -> None:
    index = made(random_pairs(), tmp_path, model, under=under)
    index.context(1)
    assert len(copies(tmp_path)) == len(index.manifest.shards)
    files = remote(tmp_path)
    files.system.rm(files.root, recursive=True)
    index.context(1)
    with pytest.raises(UserError, match=rf"{under}/.*layer3\.npy: shard is missing"):
        index.context(3)


def test_mean_contexts_leave_no_copies_behind(model: Path, tmp_path: Path, under: str) -> None:
    index = made(random_pairs(), tmp_path, model, under=under)
    save_mean_contexts(index)
    assert copies(tmp_path) == []
    np.testing.assert_allclose(
        mean_context(index, 3), index.context(3)[1].mean(axis=0), rtol=1e-4, atol=1e-5
    )


def test_a_restart_does_only_what_is_missing_or_was_broken_off(
    model: Path, tmp_path: Path, under: str
) -> None:
    made(random_pairs(), tmp_path, model, under=under)
    expected, files = checksum(tmp_path), remote(tmp_path)
    content = files.system.cat_file(f"{files.root}/00001-layer3.npy")
    files.system.pipe_file(f"{files.root}/00001-layer3.npy", content[: len(content) // 2])
    files.system.rm_file(f"{files.root}/00002-layer1.json")
    assert verify(tmp_path)["file"].tolist() == [
        f"{files.url}/00001-layer3.npy",
        f"{files.url}/00002-layer1.npy",
    ]
    assert compute(tmp_path, model) == 2
    assert checksum(tmp_path) == expected


def test_a_shard_that_is_written_again_is_not_read_from_an_old_copy(
    model: Path, tmp_path: Path, under: str
) -> None:
    index = made(random_pairs(), tmp_path, model, under=under)
    expected = index.datapoint(3)[1]
    files = remote(tmp_path)
    files.on_disk("00001-layer3.npy").write_bytes(b"damaged")
    files.system.rm_file(f"{files.root}/00001-layer3.json")
    compute(tmp_path, model)
    np.testing.assert_array_equal(index.datapoint(3)[1], expected)


def test_another_plan_deletes_the_shards_of_the_one_before(
    model: Path, tmp_path: Path, under: str
) -> None:
    made(random_pairs(), tmp_path, model, under=under)
    before = remote(tmp_path)
    made(random_pairs(seed=1), tmp_path, model, under=under)
    after = remote(tmp_path)
    assert before.url != after.url
    assert not before.system.exists(before.root)
    assert verify(tmp_path).empty


@pytest.mark.parametrize(("first", "second"), [(True, False), (False, True), (True, True)])
def test_vectors_are_adopted_from_wherever_they_are(
    first: bool, second: bool, model: Path, tmp_path: Path, under: str
) -> None:
    one, other = tmp_path / "a", tmp_path / "b"
    made(random_pairs(), one, model, under=under if first else "")
    plan(random_pairs(), other, earlier=[one], under=under if second else "")
    assert open_tasks(other, read_manifest(other)) == []
    assert checksum(other) == checksum(one)
    assert len(VectorIndex.open(other).datapoint(1)[0]) == 40


@pytest.mark.parametrize("url", ["file:///absent-folder", "nonsense://bucket"])
def test_a_place_that_cannot_be_written_to_is_refused_before_any_work(
    url: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=url):
        plan(random_pairs(), tmp_path, under=url)
    assert not (tmp_path / "manifest.json").exists()
