"""Runs on disk: content-addressed, immutable, published atomically.

    workspace/
      project.toml            what is investigated (core.specs.project)
      catalog.sqlite          names, merges, notes, edits (core.workspace.catalog)
      device-<host>-<name>.lock   taken by the step that computes on a GPU, or on `cpu`
      runs/<step>-<hash>/     spec.json  progress.jsonl  log.txt  lock  output/  SHA256SUMS

A step writes to `output.part/`, which is renamed to `output/`. The store knows where runs are and
in which state, not what a step computes (core.steps) or how a job is started (core.runs.jobs).
"""

import json
import os
import re
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, overload

from filelock import FileLock, Timeout
from pydantic import ValidationError

from core.data.pair_table import PairColumns, open_columns
from core.errors import READ_ONLY, UserError, first_problem
from core.runs import hashing
from core.runs.hashing import fingerprint_file, fingerprint_judge, fingerprint_model
from core.runs.progress import State, latest_attempt, read_events, seconds_left, state_of
from core.specs.base import Spec, identity, references
from core.specs.recipes import EditSpec
from core.specs.steps import STEPS, IndexSpec, TrainSpec, is_run
from core.storage.atomic import file_lock, write_atomic
from core.storage.object_store import shard_files, url_of
from core.storage.tables import record

KILLED = (
    "Its process ended without a message: it was killed (often out of memory), the machine was "
    "switched off, or the disk was full. Start the run again; its checkpoints are kept."
)
WEIGHTS = "weights"  # among the contents behind a spec
S = TypeVar("S", bound=Spec)


@dataclass(frozen=True)
class RunInfo:
    """One run as lists show it."""

    id: str
    step: str
    state: State
    started: float  # seconds since the epoch, of the latest attempt; once it works, when it began
    seconds: float  # wall-clock, so far or in all
    done: int
    total: int
    note: str
    error: str
    left: float | None = None  # seconds of the part under way, at its pace


class Store:
    """The runs of one workspace."""

    def __init__(self, workspace: Path | str, *, who: str = "", writable: bool = True) -> None:
        self.workspace = Path(workspace).expanduser().resolve()
        self.who = who  # on whose behalf jobs are started
        self.writable = writable
        self.runs = self.workspace / "runs"

    def require_writable(self) -> None:
        """`UserError` where the workspace is open read-only."""
        if not self.writable:
            raise UserError(READ_ONLY)

    # -- names ---------------------------------------------------------------------------

    def run_id(self, spec: Spec) -> str:
        """`<step>-<hash>`, from the settings and the content behind the references."""
        return f"{spec.step}-{identity(spec, self.contents(spec))}"

    def contents(self, spec: Spec) -> dict[str, str]:
        """The fingerprint of what each reference field of a spec refers to.

        Also `WEIGHTS`, where training heeds weights that earlier versions read past: their run
        of the same spec is another one.
        """
        contents = {
            name: self._content(ref.kind, getattr(spec, name))
            for name, ref in references(spec).items()
            if getattr(spec, name) is not None
        }
        weighted = isinstance(spec, EditSpec | TrainSpec) and self._weighted(spec.pairs)
        return contents | ({WEIGHTS: "of the loss"} if weighted else {})

    def folder(self, run: str) -> Path:
        """The folder of a run, whether or not it exists. `UserError` for what is no id."""
        if not is_run(run):
            raise UserError(f"{run!r} is not a run id, such as rank-0123456789abcdef.")
        return self.runs / run

    # -- reading -------------------------------------------------------------------------

    def output(self, run: str) -> Path:
        """The output folder of a finished run."""
        path = self.folder(run) / "output"
        if not path.is_dir():
            raise UserError(f"{run} is {self.state(run)}, not finished: it has no output.")
        return path

    @overload
    def spec(self, run: str) -> Spec: ...
    @overload
    def spec(self, run: str, kind: type[S]) -> S: ...
    def spec(self, run: str, kind: type[Spec] = Spec) -> Spec:
        """The spec that a run was started with. `UserError` where it is not of this kind."""
        record = self.record(run)
        try:
            spec = STEPS[record["step"]].model_validate(record["spec"])
        except ValidationError as error:
            path, problem = self.folder(run) / "spec.json", first_problem(error)
            raise UserError(f"{path}: {problem}. Delete the run's folder.") from error
        if not isinstance(spec, kind):
            raise UserError(f"{run} is not a {kind.step} run.")
        return spec

    def record(self, run: str) -> dict[str, Any]:
        """spec.json: the spec, the content behind its references, provenance and cost."""
        path = self.folder(run) / "spec.json"
        if not path.is_file():
            raise UserError(f"{run}: there is no such run in {self.workspace}.")
        content = record(path)
        if content.get("step") not in STEPS or not isinstance(content.get("spec"), dict):
            raise UserError(f"{path}: names no step and spec. Delete the run's folder.")
        return content

    def events(self, run: str) -> list[dict[str, Any]]:
        """What the run reported, oldest first."""
        return read_events(self.folder(run) / "progress.jsonl")

    def log(self, run: str, lines: int = 40) -> str:
        """The end of the run's log."""
        path = self.folder(run) / "log.txt"
        if not path.is_file():
            return ""
        return "\n".join(path.read_text("utf-8", errors="replace").splitlines()[-lines:])

    def state(self, run: str) -> State:
        """The state, as files and processes show it: true after any crash."""
        return state_of(self.folder(run), self.events(run))

    def info(self, run: str) -> RunInfo:
        """State, time and progress of one run."""
        folder, events = self.folder(run), self.events(run)
        attempt, state = latest_attempt(events), state_of(folder, events)
        latest = {event["event"]: event for event in attempt}
        progress, failed = latest.get("progress", {}), latest.get("failed", {})
        started = latest.get("started", attempt[0])["time"] if attempt else 0.0
        return RunInfo(
            id=run,
            step=run.partition("-")[0],
            state=state,
            started=started,
            seconds=attempt[-1]["time"] - started if attempt else 0.0,
            done=progress.get("done", 0),
            total=progress.get("total", 0),
            note=progress.get("note", ""),
            error=failed.get("error", "") or (KILLED if state == "failed" else ""),
            left=seconds_left(attempt) if state == "running" else None,
        )

    def infos(self, step: str | None = None, state: State | None = None) -> list[RunInfo]:
        """All runs, newest first; optionally of one step or in one state."""
        names = [path.name for path in self.runs.glob(f"{step or '*'}-*") if path.is_dir()]
        infos = [self.info(name) for name in names if is_run(name)]
        infos = [info for info in infos if state is None or info.state == state]
        return sorted(infos, key=lambda info: info.started, reverse=True)

    def finished(self, step: str) -> list[str]:
        """Ids of finished runs of a step, newest first."""
        return [info.id for info in self.infos(step, "finished")]

    def newest(self, step: str) -> str:
        """Id of the newest finished run of a step. `UserError` where there is none."""
        finished = self.finished(step)
        if not finished:
            raise UserError(f"No {step} run is finished. Run `pairtrace {step}` first.")
        return finished[0]

    # -- references ----------------------------------------------------------------------

    def model(self, reference: str) -> Path:
        """The folder that a spec's model field names: a path, or a train run's model."""
        return self.output(reference) / "model" if is_run(reference) else Path(reference)

    def pairs(self, reference: str) -> Path:
        """The file that a spec's pairs field names: a path, or an edit run's pairs."""
        return self.output(reference) / "pairs.parquet" if is_run(reference) else Path(reference)

    def pair_columns(self, reference: str) -> PairColumns:
        """The same pairs, column by column, from the local copy that steps and pages share."""
        return open_columns(self.pairs(reference), self.workspace / "cache")

    def index_pairs(self, index: str) -> PairColumns:
        """The pairs that an index run read."""
        return self.pair_columns(self.spec(index, IndexSpec).pairs)

    # -- writing -------------------------------------------------------------------------

    def write_record(self, run: str, record: dict[str, Any]) -> None:
        """Write spec.json atomically."""
        path = self.folder(run) / "spec.json"
        write_atomic(path, json.dumps(record, indent=2, ensure_ascii=False) + "\n")

    def part(self, run: str, *, keep: bool) -> Path:
        """The folder that a step writes to, with or without what an earlier attempt left."""
        path = self.folder(run) / "output.part"
        if not keep:
            shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def publish(self, run: str) -> Path:
        """Rename the part to `output`, without the partial files of killed attempts."""
        folder = self.folder(run)
        part, path = folder / "output.part", folder / "output"
        for partial in part.rglob("*.part"):
            partial.unlink()
        hashing.write_checksums(part, folder)
        os.replace(part, path)
        return path

    def seal(self, run: str) -> bool:
        """Write the checksums of a run of an earlier version; False if it has some."""
        self.require_writable()
        self.output(run)  # `UserError` where it is not finished
        return hashing.seal(self.folder(run))

    def lock(self, run: str) -> FileLock:
        """Taken by the one process that works on a run."""
        return file_lock(self.folder(run) / "lock")

    def device_lock(self, name: str) -> FileLock:
        """Taken by the one step of this workspace that computes on a device of this machine."""
        of = re.sub(r"[^\w.-]", "-", f"{socket.gethostname()}-{name}")  # MIG-GPU-<uuid>/1/0
        return file_lock(self.workspace / f"device-{of}.lock")

    def delete(self, run: str) -> str:
        """Delete a run that is not running, and its shards wherever they are.

        Its output is renamed first, so a partly deleted run is not finished and can be deleted
        again. Returns the URL of shards that are left because they may belong to the workspace
        that this one was copied from; else "".
        """
        self.require_writable()
        folder = self.folder(run)
        if not folder.is_dir():
            raise UserError(f"{run}: there is no such run in {self.workspace}.")
        left = ""
        try:
            with self.lock(run).acquire(timeout=0):
                for name in ("deleted", "output", "output.part"):
                    if (folder / name).is_dir():
                        os.replace(folder / name, folder / "deleted")
                        left = self._delete_output(run, folder / "deleted") or left
                shutil.rmtree(folder)
        except Timeout as error:
            raise UserError(f"{run} is running. Cancel it first.") from error
        return left

    def _delete_output(self, run: str, output: Path) -> str:
        """Delete the shards first: their URL is in the output."""
        url, events = url_of(output), self.events(run)
        folder = str(self.folder(run).resolve())
        ours = bool(events) and all(event.get("folder") == folder for event in events)
        if url and ours:
            shard_files(output).clear()
        shutil.rmtree(output)
        return "" if ours else url

    def _weighted(self, pairs: str) -> bool:
        """Whether pairs have weights of which their own id does not tell."""
        if not is_run(pairs):
            return hashing.weighted(Path(pairs))
        if self.state(pairs) != "finished" or WEIGHTS in self.record(pairs)["contents"]:
            return False
        edits = getattr(self.spec(pairs), "edits", None)  # of a conversion: its id tells
        marked = edits is None or any(edit.weight is not None for edit in edits)
        return not marked and hashing.weighted(self.pairs(pairs))

    def _content(self, kind: str, reference: str) -> str:
        if is_run(reference):
            return reference
        path = Path(reference)
        if kind == "run":
            raise UserError(f"{reference!r} is not a run id, such as index-0123456789abcdef.")
        if kind == "model":
            return fingerprint_model(path)
        if kind == "judge":
            return fingerprint_judge(path) if path.suffix else reference
        return fingerprint_file(path)
