import json
import os
import subprocess

import pytest

from core.errors import UserError
from core.runs.progress import Progress


def begin(store, spec):
    run = store.run_id(spec)
    store.folder(run).mkdir(parents=True)
    return run, Progress(store.folder(run) / "progress.jsonl")


def test_a_run_nobody_started_is_absent(store, edit_spec):
    assert store.state(store.run_id(edit_spec)) == "absent"


def test_a_run_whose_process_died_is_failed_not_running(store, edit_spec):
    run, progress = begin(store, edit_spec)
    with subprocess.Popen(["sleep", "60"]) as process:
        progress.event("progress", pid=process.pid, done=1, total=9, note="")
        assert store.state(run) == "running"
        process.kill()
    assert store.state(run) == "failed"


@pytest.mark.parametrize(
    "other", [{"born": 1.0}, {"folder": "/elsewhere"}, {"born": None}, {"folder": None}]
)
def test_another_process_with_its_number_does_not_keep_a_dead_run_alive(store, edit_spec, other):
    run, progress = begin(store, edit_spec)
    progress.event("progress", done=1, total=9, note="")
    assert store.state(run) == "running"
    last = store.events(run)[-1]
    assert last["pid"] == os.getpid()
    with progress.path.open("a") as stream:
        stream.write(json.dumps(last | other) + "\n")
    assert store.state(run) == "failed"


def test_output_exists_only_once_published(store, edit_spec):
    run, progress = begin(store, edit_spec)
    progress.event("started")
    (store.part(run, keep=False) / "pairs.parquet").write_text("whole")
    with pytest.raises(UserError, match="running, not finished"):
        store.output(run)
    store.publish(run)
    assert (store.output(run) / "pairs.parquet").read_text() == "whole"
    assert store.state(run) == "finished"


def test_a_part_is_kept_only_when_asked(store, edit_spec):
    run, _ = begin(store, edit_spec)
    (store.part(run, keep=False) / "shard").write_text("")
    assert (store.part(run, keep=True) / "shard").exists()
    assert not (store.part(run, keep=False) / "shard").exists()


@pytest.mark.parametrize("name", ["../../etc", "rank-../x", "rank-zz", "", "rank-0123456789abcde/"])
def test_what_is_not_a_run_id_never_becomes_a_path(store, name):
    with pytest.raises(UserError, match="not a run id"):
        store.folder(name)


def test_a_broken_record_is_refused_by_name(store, edit_spec):
    run, _ = begin(store, edit_spec)
    (store.folder(run) / "spec.json").write_text("{")
    with pytest.raises(UserError, match=r"spec\.json: not readable JSON"):
        store.spec(run)


def test_an_event_cut_by_a_crash_is_left_out(store, edit_spec):
    run, progress = begin(store, edit_spec)
    progress.event("started")
    with progress.path.open("a") as stream:
        stream.write('{"event": "prog')
    assert [event["event"] for event in store.events(run)] == ["started"]


def test_the_time_of_a_run_leaves_out_what_it_waited(store, edit_spec):
    run = store.run_id(edit_spec)
    store.folder(run).mkdir(parents=True)
    times = {"queued": 100.0, "started": 160.0, "finished": 172.0}
    lines = [json.dumps({"time": t, "event": name, "pid": 1}) + "\n" for name, t in times.items()]
    (store.folder(run) / "progress.jsonl").write_text("".join(lines))
    assert store.info(run).seconds == 12


def test_infos_are_newest_first_with_progress(store, edit_spec):
    run, progress = begin(store, edit_spec)
    progress.event("started")
    progress.event("progress", done=3, total=9, note="pairs")
    other, later = begin(store, edit_spec.model_copy(update={"control": 1}))
    later.event("started")
    infos = store.infos("edit")
    assert [info.id for info in infos] == [other, run]
    assert (infos[1].done, infos[1].total, infos[1].note) == (3, 9, "pairs")


def test_the_same_file_elsewhere_gives_the_same_run(store, edit_spec, tmp_path, pairs_file):
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(pairs_file.read_bytes())
    assert store.run_id(edit_spec) == store.run_id(
        edit_spec.model_copy(update={"pairs": str(copy)})
    )
    copy.write_text(json.dumps({"uid": "other"}))
    assert store.run_id(edit_spec) != store.run_id(
        edit_spec.model_copy(update={"pairs": str(copy)})
    )
