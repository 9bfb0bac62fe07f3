"""Ray actors end in the same bytes as this process, also when one is killed."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest

from core.attribution.index.build import ShardReader, Task, open_tasks
from core.attribution.index.layout import checksum, read_manifest, verify
from core.errors import UserError
from core.runs.workers import Inline, Ray
from core.storage.object_store import url_of
from tests.attribution.index.test_layout import plan, random_pairs
from tests.buckets import INSTALLED, serving_s3
from tests.tiny_models import save_tiny_model

ray = pytest.importorskip("ray", reason="the ray extra is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class DiesOnce:
    """A reader whose process is killed in the middle of the index, once."""

    def __init__(self, folder: Path, model: Path, mark: Path) -> None:
        self.reader, self.mark = ShardReader(folder, model), mark

    def __call__(self, task: Task, tick: Callable[[int], None]) -> int:
        if task.shard.name == "00003" and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.reader(task, tick)


@pytest.fixture(scope="module")
def to_find_s3() -> Iterator[dict[str, str]]:
    """The environment with which an actor finds a bucket; empty where none can be served."""
    with serving_s3() if INSTALLED else nullcontext({}) as environment:
        yield environment


@pytest.fixture(scope="module", autouse=True)
def cluster(to_find_s3: dict[str, str]) -> Iterator[None]:
    # child processes must find `tests` and `core` whatever the folder they start in
    root = str(Path(__file__).parents[2])
    path = {"PYTHONPATH": f"{root}:{os.environ.get('PYTHONPATH', '')}"}
    environment = {"env_vars": path | to_find_s3}
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, runtime_env=environment)
    yield
    ray.shutdown()


@pytest.fixture
def expected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """A model, and the checksum of the index that this process makes with it."""
    monkeypatch.setattr("core.attribution.index.plan.SHARD_TOKENS", (100, 1000))
    model = save_tiny_model(tmp_path / "model")
    plan(random_pairs(), tmp_path / "inline")
    run(Inline(), partial(ShardReader, tmp_path / "inline", model), tmp_path / "inline")
    return model, checksum(tmp_path / "inline")


def run(executor: Inline | Ray, make: Callable, folder: Path) -> int:
    tasks = open_tasks(folder, read_manifest(folder))
    return sum(executor(make, tasks, lambda _: None))


@pytest.mark.skipif(not INSTALLED, reason="s3fs and moto are not installed")
def test_two_actors_end_in_the_same_bytes_in_a_bucket(
    expected: tuple[Path, str], tmp_path: Path
) -> None:
    model, bytes_inline = expected
    folder = tmp_path / "ray"
    plan(random_pairs(), folder, under="s3://bucket")
    assert run(Ray(2), partial(ShardReader, folder, model), folder) == 40
    assert checksum(folder) == bytes_inline
    assert verify(folder).empty
    assert url_of(folder).startswith("s3://bucket/")
    assert list((folder / "shards").iterdir()) == []


def test_a_killed_actor_costs_nothing(expected: tuple[Path, str], tmp_path: Path) -> None:
    model, bytes_inline = expected
    folder, mark = tmp_path / "ray", tmp_path / "died"
    plan(random_pairs(), folder)
    assert run(Ray(2, (folder, model)), partial(DiesOnce, folder, model, mark), folder) == 40
    assert mark.exists()
    assert checksum(folder) == bytes_inline


def test_more_actors_than_the_cluster_can_feed_are_refused_at_once() -> None:
    with pytest.raises(UserError, match="needs 6 logical CPUs"):
        list(Ray(4)(ShardReader, [1], lambda _: None))


def test_a_node_that_does_not_see_the_shared_folders_is_refused_before_any_work(
    tmp_path: Path,
) -> None:
    seen, unseen = tmp_path, tmp_path / "not-mounted"
    with pytest.raises(UserError, match=rf"^\S+ does not see {unseen}\. Every Ray node"):
        list(Ray(2, (seen, unseen))(ShardReader, [1], lambda _: None))
