import os
import shutil
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from core.runs import jobs
from core.runs.jobs import forecast, time_left
from core.runs.progress import Progress
from core.runs.store import RunInfo, Store
from core.specs.recipes import EditSpec
from core.specs.steps import ExplainSpec, TrainSpec

PATIENCE = 60  # seconds; a busy machine starts processes slowly


def wait_for(store, run, *states):
    deadline = time.monotonic() + PATIENCE
    while (state := store.state(run)) not in states:
        assert time.monotonic() < deadline, f"{run} is {state}\n{store.log(run)}"
        time.sleep(0.05)
    return state


@pytest.fixture
def held_run(store, edit_spec):
    """A job that waits, because this process holds its run's lock."""
    folder = store.folder(store.run_id(edit_spec))
    folder.mkdir(parents=True)
    with FileLock(folder / "lock"):
        yield jobs.start(store, edit_spec)


def test_a_job_finishes_as_a_process_of_its_own(store, edit_spec):
    run = jobs.start(store, edit_spec)
    assert wait_for(store, run, "finished", "failed") == "finished"
    assert {event["pid"] for event in store.events(run)} != {os.getpid()}


def test_a_job_that_fails_says_why(store, edit_spec):
    recipe = {"kind": "where", "column": "nowhere", "values": ["x"]}
    spec = EditSpec(pairs=edit_spec.pairs, edits=[{"action": "flip", "recipe": recipe}])
    run = jobs.start(store, spec)
    assert wait_for(store, run, "finished", "failed") == "failed"
    assert "nowhere" in store.info(run).error


def test_starting_a_job_twice_starts_one(store, edit_spec, held_run):
    assert jobs.start(store, edit_spec) == held_run
    assert [event["event"] for event in store.events(held_run)].count("queued") == 1


@pytest.mark.parametrize("brief", [True, False])
def test_only_long_jobs_give_way(store, edit_spec, model_folder, brief):
    """A job that takes seconds, for which somebody waits, keeps the priority of who started it."""
    training = TrainSpec(reference=str(model_folder), pairs=edit_spec.pairs)
    spec = edit_spec if brief else training
    folder, mine = store.folder(store.run_id(spec)), psutil.Process().nice()
    folder.mkdir(parents=True)
    with FileLock(folder / "lock"):
        run = jobs.start(store, spec)
        pid = store.events(run)[-1]["pid"]
        assert psutil.Process(pid).nice() == (mine if brief else max(mine, jobs.NICE))
        group = Path(f"/proc/{pid}/autogroup")
        if group.exists():  # "/autogroup-12 nice 10", or empty where the kernel has it switched off
            assert brief or group.read_text().strip()[-2:] in ("", str(jobs.NICE))
        jobs.cancel(store, run)


def test_cancelling_a_job_frees_it_in_ten_seconds(store, held_run):
    began = time.monotonic()
    jobs.cancel(store, held_run)
    assert time.monotonic() - began < 10
    assert store.state(held_run) == "cancelled"


def test_several_jobs_are_stopped_in_the_time_of_one(store, edit_spec, held_run):
    other = edit_spec.model_copy(update={"edits": edit_spec.edits[:1] * 2})
    folder = store.folder(store.run_id(other))
    folder.mkdir(parents=True)
    with FileLock(folder / "lock"):
        runs = [held_run, jobs.start(store, other)]
        began = time.monotonic()
        jobs.cancel_all(store, runs)
        assert time.monotonic() - began < 10
        assert [store.state(run) for run in runs] == ["cancelled", "cancelled"]


def test_cancelling_in_a_copied_workspace_leaves_the_original_s_job_alone(
    store, held_run, tmp_path
):
    """The copy's progress names the original's process, and says where that one works."""
    copied = Store(shutil.copytree(store.workspace, tmp_path / "copied"))
    assert copied.events(held_run) == store.events(held_run)
    assert copied.state(held_run) == "failed"
    jobs.cancel(copied, held_run)
    assert store.state(held_run) == "waiting"
    jobs.cancel(store, held_run)
    assert store.state(held_run) == "cancelled"


def test_cancelling_before_the_process_is_spawned_never_stops_who_asked(store, edit_spec):
    """The server that queues a run may be the process that cancels it; it must live on."""
    run, folder = store.run_id(edit_spec), store.folder(store.run_id(edit_spec))
    folder.mkdir(parents=True)
    Progress(folder / "progress.jsonl").event("queued")
    assert store.state(run) == "waiting"
    before = signal.signal(signal.SIGTERM, lambda *_: pytest.fail("it stopped itself"))
    try:
        jobs.cancel(store, run)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert store.state(run) == "cancelled"


def test_a_run_cannot_be_cancelled_between_queue_and_process(store, edit_spec):
    """Whoever cancels waits until the process is there, and stops that one."""
    run = store.run_id(edit_spec)
    folder = store.folder(run)
    folder.mkdir(parents=True)
    with FileLock(folder / "lock"):
        threads = [
            threading.Thread(target=jobs.start, args=(store, edit_spec)),
            *(threading.Thread(target=_cancel_once_queued, args=(store, run)) for _ in range(2)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    (spawned,) = [e["pid"] for e in store.events(run) if e["event"] == "spawned"]
    assert not psutil.pid_exists(spawned) or psutil.Process(spawned).status() == "zombie"
    assert store.state(run) == "cancelled"


def _cancel_once_queued(store, run):
    deadline = time.monotonic() + PATIENCE
    while not store.events(run) and time.monotonic() < deadline:
        time.sleep(0.001)
    jobs.cancel(store, run)


def test_two_people_who_start_one_run_at_the_same_moment_start_one_process(store, edit_spec):
    threads = [threading.Thread(target=jobs.start, args=(store, edit_spec)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    run = store.run_id(edit_spec)
    assert wait_for(store, run, "finished", "failed") == "finished"
    names = [event["event"] for event in store.events(run)]
    assert names.count("spawned") == names.count("started") == 1


def test_a_killed_job_is_failed_and_can_be_started_again(store, edit_spec):
    folder = store.folder(store.run_id(edit_spec))
    folder.mkdir(parents=True)
    with FileLock(folder / "lock"):
        run = jobs.start(store, edit_spec)
        os.kill(store.events(run)[-1]["pid"], signal.SIGKILL)
        assert wait_for(store, run, "failed") == "failed"
    assert jobs.start(store, edit_spec) == run
    assert wait_for(store, run, "finished", "failed") == "finished"


def test_a_warm_process_works_on_one_job_after_another_and_ends_when_it_is_idle(store, monkeypatch):
    """The jobs fail, as their ranking does not exist: that is recorded like any other end."""
    specs = [ExplainSpec(rank="rank-0123456789abcdef", uids=(uid,)) for uid in "abc"]
    jobs.warm(store)
    assert not jobs._warm.processes  # only the app's server keeps some
    monkeypatch.setattr(jobs._warm, "allowed", True)
    jobs.warm(store)
    (process,) = jobs._warm.processes.values()
    for spec in specs[:2]:
        run = jobs.start(store, spec)
        assert wait_for(store, run, "failed") == "failed"
        assert "rank-0123456789abcdef is absent" in store.info(run).error
        worked = {e["pid"] for e in store.events(run) if e["event"] in ("spawned", "failed")}
        assert worked == {process.pid}
    jobs.warm(store)
    assert list(jobs._warm.processes.values()) == [process]
    process.stdin.close()
    process.wait(PATIENCE)
    run = jobs.start(store, specs[2])  # by a process of its own
    assert wait_for(store, run, "failed") == "failed"
    assert process.pid not in {event["pid"] for event in store.events(run)}


TYPICAL = {"train": 60.0}


def info(state: str, *, step: str = "train", seconds: float = 0, done: int = 0) -> RunInfo:
    run = f"{step}-0123456789abcdef"
    left = 7.0 * (10 - done) if done else None
    return RunInfo(run, step, state, 0.0, seconds, done, 10 if done else 0, "", "", left)


@pytest.mark.parametrize(
    ("infos", "seconds", "unknown"),
    [
        ([info("waiting"), info("waiting")], 120, ()),
        ([info("running", seconds=20)], 40, ()),
        ([info("running", seconds=30, done=3)], 49, ()),
        ([info("running", seconds=5, done=0)], 55, ()),
        ([info("finished", seconds=99), info("failed")], 0, ()),
        ([info("waiting", step="evaluate"), info("absent")], 60, ("evaluate",)),
    ],
)
def test_the_time_left_is_extrapolated_or_what_such_runs_took(infos, seconds, unknown):
    assert time_left(infos, TYPICAL) == (seconds, unknown)


def test_a_forecast_names_steps_that_never_ran():
    assert forecast(["train", "train", "evaluate"], TYPICAL) == (120, ("evaluate",))
