"""One step on a disk that is too small, again and again with a little more room.

    python -m tests.faults.small_disk STEP SPEC WORKSPACE FOLDER

SPEC is JSON; WORKSPACE is one in which the step has run undisturbed. FOLDER gets `output`, what the
run came to in the end, and `attempts`, what each attempt before it said, as JSON. Runs in a mount
namespace of its own, where an ordinary user may mount a disk in memory. Ends in an `AssertionError`
where an attempt fails in other words or leaves anything half-written.
"""

import json
import multiprocessing
import shutil
import subprocess
import sys
from pathlib import Path

from core.errors import UserError
from core.runs.execute import execute
from core.runs.store import Store
from core.specs.base import Spec
from core.specs.steps import STEPS

PAGE = 4096  # bytes: files in memory take no less
MOST = 40  # attempts, the last of which have a gigabyte


def attempt(spec: Spec, workspace: Path, said: Path) -> None:
    """Run a spec; what it says to its user is written down."""
    try:
        execute(spec, Store(workspace))
    except UserError as error:
        said.write_text(str(error))
        sys.exit(2)


def finish(spec: Spec, calm: Store, folder: Path) -> list[str]:
    """Attempts until the run is finished, each with half as much room again; what they said."""
    disk, run, said = folder / "disk", calm.run_id(spec), []
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", disk], check=True)
    shutil.copytree(calm.workspace, disk / "w", ignore=shutil.ignore_patterns(run, "cache"))
    store, used, room = Store(disk / "w"), shutil.disk_usage(disk).used, PAGE
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([f"core.steps.{step}" for step in STEPS])
    while len(said) < MOST:
        subprocess.run(["mount", "-o", f"remount,size={used + room}", disk], check=True)
        process = context.Process(target=attempt, args=(spec, store.workspace, folder / "said"))
        process.start()
        process.join()
        if process.exitcode == 0:
            shutil.copytree(store.output(run), folder / "output")
            return said
        assert process.exitcode == 2, f"{process.exitcode}: {store.info(run)}"
        said.append((folder / "said").read_text())
        assert_nothing_half(store, run)
        room = -(-room * 3 // 2 // PAGE) * PAGE
    raise AssertionError(f"{run} never finished: {said[-1]}")


def assert_nothing_half(store: Store, run: str) -> None:
    """A failed attempt published nothing, and left no file that nobody will come back to."""
    assert store.state(run) in ("failed", "absent"), store.state(run)
    assert not (store.folder(run) / "output").exists()
    halves = [path for path in store.workspace.rglob("*.part") if path.is_file()]
    assert not halves, halves


if __name__ == "__main__":
    step, made, workspace, given = sys.argv[1:]
    attempts = finish(STEPS[step].model_validate_json(made), Store(workspace), Path(given))
    (Path(given) / "attempts").write_text(json.dumps(attempts))
