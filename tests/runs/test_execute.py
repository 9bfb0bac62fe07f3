import os
import signal
import threading

import fsspec
import pandas as pd
import pytest

from core import environment
from core.errors import UserError
from core.runs import hashing
from core.runs.execute import execute, inputs, repeat
from core.runs.progress import Cancelled, Progress
from core.runs.store import Store
from core.specs.recipes import EditSpec
from core.specs.steps import EvaluateSpec, ExplainSpec, TrainSpec
from tests.buckets import INSTALLED, serving_s3


def test_a_run_is_published_with_its_cost_and_provenance(store, edit_spec):
    run = execute(edit_spec, store)
    assert store.state(run) == "finished"
    assert pd.read_parquet(store.output(run) / "pairs.parquet")["uid"].tolist() == [
        "u0",
        "u2",
        "u4",
        "u5",
    ]
    record = store.record(run)
    assert record["cost"]["cpu_seconds"] >= 0
    assert record["provenance"]["versions"]["pandas"] == pd.__version__


def test_the_same_spec_is_not_computed_twice(store, edit_spec):
    run = execute(edit_spec, store)
    before = len(store.events(run))
    assert execute(edit_spec, store) == run
    assert len(store.events(run)) == before


@pytest.mark.skipif(not INSTALLED, reason="s3fs and moto are not installed")
def test_a_finished_run_that_went_through_a_bucket_is_not_computed_again(
    store, edit_spec, tmp_path
):
    run, other = execute(edit_spec, store), Store(tmp_path / "other machine")
    before, folder = (store.folder(run) / "progress.jsonl").read_bytes(), other.folder(run)
    folder.parent.mkdir(parents=True)
    with serving_s3():
        bucket = fsspec.filesystem("s3")
        bucket.put(str(store.folder(run)), f"bucket/runs/{run}", recursive=True)
        bucket.get(f"bucket/runs/{run}", str(folder), recursive=True)
    assert hashing.problems(folder) == {}
    assert execute(edit_spec, other) == run
    assert (folder / "progress.jsonl").read_bytes() == before


def test_a_user_error_is_recorded_and_leaves_no_output(store, edit_spec):
    recipe = {"kind": "where", "column": "no_such_column", "values": ["x"]}
    spec = EditSpec(pairs=edit_spec.pairs, edits=[{"action": "flip", "recipe": recipe}])
    with pytest.raises(UserError, match="no_such_column"):
        execute(spec, store)
    run = store.run_id(spec)
    assert store.state(run) == "failed"
    assert "no_such_column" in store.info(run).error
    with pytest.raises(UserError, match="failed, not finished"):
        store.output(run)


def test_a_run_whose_input_was_never_made_is_refused(store):
    spec = EvaluateSpec(
        model="train-0123456789abcdef", prompts=__file__, judge="refusal", behaviors=()
    )
    with pytest.raises(UserError, match="input train-0123456789abcdef is absent"):
        execute(spec, store)


def test_a_run_waits_for_the_device_and_can_be_stopped_there(store, pairs_file, model_folder):
    """Another process holds the device; a stop arrives while this one waits in line."""
    spec = TrainSpec(reference=str(model_folder), pairs=str(pairs_file))
    seen = []

    def listen(event):
        seen.append(event["event"])
        if event["event"] == "waiting":
            os.kill(os.getpid(), signal.SIGTERM)

    with store.device_lock("cpu"), pytest.raises(Cancelled):
        execute(spec, store, listen=listen)
    assert seen == ["waiting", "cancelled"]
    assert store.state(store.run_id(spec)) == "cancelled"


@pytest.mark.parametrize(("device", "waits"), [("cuda:0", True), ("cuda:1", False)])
def test_a_run_waits_for_its_own_gpu_alone(
    store, pairs_file, model_folder, tmp_path, monkeypatch, device, waits
):
    """Another process holds the first of two GPUs, which this machine's torch knows nothing of."""
    for file in ("nvidia0", "nvidia1", "nvidiactl"):
        (tmp_path / file).touch()
    monkeypatch.setattr(environment, "FILES", tmp_path)
    monkeypatch.setenv(environment.DEVICE, device)
    seen = []

    def listen(event):
        seen.append(event["event"])
        if event["event"] == "waiting":
            assert event["note"] == "for the device 0"
            os.kill(os.getpid(), signal.SIGTERM)

    spec = TrainSpec(reference=str(model_folder), pairs=str(pairs_file))
    with store.device_lock("0"), pytest.raises(Cancelled if waits else UserError):
        execute(spec, store, listen=listen)
    assert ("waiting" in seen) == waits
    assert ("started" in seen) != waits


@pytest.mark.parametrize(("uids", "waits"), [(("a",), False), (("a", "b"), True), ((), True)])
def test_one_pair_is_explained_while_a_cpu_is_taken(store, uids, waits):
    rank = "rank-0123456789abcdef"
    (store.folder(rank) / "output").mkdir(parents=True)
    spec = ExplainSpec(rank=rank, uids=uids)

    def listen(event):
        if event["event"] == "waiting":
            os.kill(os.getpid(), signal.SIGTERM)

    with store.device_lock("cpu"), pytest.raises(Cancelled if waits else UserError):
        execute(spec, store, listen=listen)  # the ranking is none: found once it has its turn


def test_two_threads_asking_for_one_run_compute_it_once(store, edit_spec):
    threads = [threading.Thread(target=execute, args=(edit_spec, store)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = [event["event"] for event in store.events(store.run_id(edit_spec))]
    assert names.count("started") == names.count("finished") == 1


def test_inputs_inside_recipes_are_inputs():
    recipe = {"kind": "none_of", "parts": [{"kind": "top_k", "rank": "rank-" + "0" * 16, "k": 1}]}
    spec = EditSpec(pairs="pairs.jsonl", edits=[{"action": "remove", "recipe": recipe}])
    assert inputs(spec) == ["rank-" + "0" * 16]


def test_progress_raises_only_after_a_stop_was_asked_for(tmp_path):
    progress = Progress(tmp_path / "progress.jsonl")
    progress(1, 2)
    progress.stop.set()
    with pytest.raises(Cancelled):
        progress(2, 2)


def test_a_repeated_run_has_the_same_id_and_bytes(store, edit_spec, tmp_path):
    run = execute(edit_spec, store)
    other = Store(tmp_path / "other")
    assert repeat(store, run, lambda spec: execute(spec, other)) == run
    for file in store.output(run).iterdir():
        assert file.read_bytes() == (other.output(run) / file.name).read_bytes()


def test_a_run_whose_data_changed_is_not_repeated_silently(store, edit_spec, tmp_path, pairs_file):
    run = execute(edit_spec, store)
    pairs_file.write_text(pairs_file.read_text().replace("a b", "a c"))
    other = Store(tmp_path / "other")
    with pytest.raises(UserError, match="changed since"):
        repeat(store, run, lambda spec: execute(spec, other))
