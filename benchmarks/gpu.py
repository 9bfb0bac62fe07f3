"""What PairTrace does on a GPU, proven and measured in one go: `make gpu`.

Parts run in order of value, each within its share of the minutes, and a part's results are written
to `OUT/results.json` as they come: who is interrupted has what was measured until then, and a later
start goes on with the parts that are missing. Needs no network. A process works through the parts;
one that fails or takes too long is ended, and the next part gets a process of its own. Exits with 0
and a table, whatever failed. `--device cpu --tiny` is the same on a CPU with tiny models, in under
a minute: nothing but the numbers is new on a GPU. What a bare machine needs: docs/gpu.md.
"""

import argparse
import json
import multiprocessing
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from core import environment
from core.storage.atomic import write_atomic

SHARES = {  # of the minutes, at most; what is left over goes to the last
    "selftest": 0.10,
    "index": 0.20,
    "training": 0.15,
    "sampling": 0.10,
    "query": 0.05,
    "pipeline": 0.20,
    "arms": 1.0,
}
LEAST_SECONDS = 5  # of a part that is started


def main() -> None:
    """Parse the options, measure, print the table."""
    parser = argparse.ArgumentParser(prog="make gpu", description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu")
    parser.add_argument("--tiny", action="store_true", help="tiny models, for a test on a CPU")
    parser.add_argument("--minutes", type=float, default=12.0, help="for all parts together")
    parser.add_argument("--out", type=Path, default=Path("build/gpu"), help="folder of the results")
    parser.add_argument("--part", choices=SHARES, action="append", help="only these")
    parser.add_argument("--first-seed", type=int, default=0, help="of the retrained arms")
    options = parser.parse_args()
    job = {"device": options.device, "tiny": options.tiny, "first_seed": options.first_seed}
    results = run(options.out, options.minutes, options.part or list(SHARES), **job)
    print(table(results))
    print(f"\n{options.out / 'results.json'}")


def run(
    out: Path = Path("build/gpu"),
    minutes: float = 12.0,
    parts: list[str] | None = None,
    *,
    device: str = "cuda",
    tiny: bool = False,
    first_seed: int = 0,
) -> dict[str, Any]:
    """Every part that has no result in `out` yet: `status`, `seconds` and `result` by its name."""
    out.mkdir(parents=True, exist_ok=True)
    environment.prepare(out / "workspace", device=device)
    file = out / "results.json"
    results: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    end = time.monotonic() + 60 * minutes
    worker = Worker(out.resolve(), device, tiny, first_seed)
    for name in parts or list(SHARES):
        if results.get(name, {}).get("status") == "measured" and name != "arms":
            continue
        seconds = min(60 * minutes * SHARES[name], end - time.monotonic())

        def keep(status: str, began: float, result: Any, name: str = name) -> None:
            took = round(time.monotonic() - began, 1)
            results[name] = {"status": status, "seconds": took, "result": result}
            write_atomic(file, json.dumps(results, indent=1) + "\n")

        worker.measure(name, seconds, keep)
    worker.end()
    return results


class Worker:
    """A process that works through parts, and is replaced where one fails or takes too long."""

    def __init__(self, *job: Any) -> None:
        self.job = job
        self.process: Any = None
        self.pipe: Any = None

    def measure(self, name: str, seconds: float, keep: Any) -> None:
        """One part; `keep(status, began, result)` whenever there is more of it."""
        began, result = time.monotonic(), {}
        if seconds < LEAST_SECONDS:
            keep("no time left", began, result)
            return
        try:
            if self.process is None:
                self._start()  # its imports take seconds, and are not the part's
                began = time.monotonic()
        except EOFError:
            keep("failed", began, {"error": "no process could be started: its error is above"})
            self._kill()
            return
        self.pipe.send(name)
        while True:
            try:
                came = self.pipe.poll(max(began + seconds - time.monotonic(), 0))
                status, content = self.pipe.recv() if came else ("out of time", {})
            except EOFError:
                status, content = "failed", {"error": "the process was killed"}
            result |= content
            keep(status, began, result)
            if status == "measured":
                return
            if status != "measuring":
                self._kill()
                return

    def end(self) -> None:
        """End the process, if there is one: it has nothing to do."""
        if self.process is not None:
            self.pipe.close()
            self.process.join(LEAST_SECONDS)
            self._kill()

    def _kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.process = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, *self.job))
        self.process.start()
        theirs.close()
        self.pipe.recv()  # it is ready


def _work(pipe: Connection, *job: Any) -> None:
    """Measure the parts that are asked for, until one fails or nobody asks."""
    from benchmarks import _gpu_parts as parts

    pipe.send("ready")
    while True:
        try:
            name = pipe.recv()
        except EOFError:
            return
        context = parts.Job(*job, record=lambda result: pipe.send(("measuring", result)))
        try:
            parts.PARTS[name](context)
        except ModuleNotFoundError as error:
            pipe.send(("left out", {"error": f"{error.name} is not installed"}))
            return
        except BaseException as error:  # noqa: BLE001 - recorded, and the next part is measured
            text = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
            pipe.send(("failed", text))
            return
        pipe.send(("measured", parts.headline(context, name)))


def table(results: dict[str, Any]) -> str:
    """One line per part: status, seconds, and its headline or what went wrong."""
    lines = [f"{'part':<10} {'status':<12} {'seconds':>8}  result"]
    for name, part in results.items():
        told = part["result"].get("headline") or part["result"].get("error", "")
        lines.append(f"{name:<10} {part['status']:<12} {part['seconds']:>8.1f}  {told[:200]}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
