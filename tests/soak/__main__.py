"""Many people at once, clicking at random for minutes: `make soak`, or a short form of it.

    python -m tests.soak --minutes 10 --sessions 8 [--think 2 5] [--workspace FINISHED]

Prints one JSON object and ends with 1 if anything was wrong: an error shown, a complaint of the
browser, a traceback in the server's log, memory that grows, or a 95th percentile of the reruns over
one second. Works on a copy of a finished workspace; without one, the demo is run first. A rerun is
timed where people wait, in the page; beside it stands what the server spent on it, since the
browsers run on the same cores. Opening and reloading load Streamlit's app first: they are visits.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil

from benchmarks._browser import free_port, wait_until_up
from core.runs import jobs
from core.runs.store import Store
from tests.browser.conftest import FLAGS, ROOT
from tests.soak.visitor import Seen, Visitor

SLOWEST_P95, GROWTH = 1.0, 1.25  # seconds; of the memory after warming up
WARM_UP = 0.3  # of the time, in which caches fill


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=10)
    options.add_argument("--sessions", type=int, default=8)
    options.add_argument(
        "--think", type=float, nargs=2, default=(2, 5), help="seconds between two clicks: from, to"
    )
    options.add_argument("--workspace", type=Path, help="a finished workspace, which is copied")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder) / "workspace"
        if given.workspace is None:
            words = ["-w", str(workspace), "demo", "--headless", "--json"]
            subprocess.run([sys.executable, "-m", "core.cli.main", *words], check=True, stdout=2)
        else:
            shutil.copytree(given.workspace, workspace)
        found = soak(
            workspace, minutes=given.minutes, sessions=given.sessions, think=tuple(given.think)
        )
    print(json.dumps(found, indent=2, ensure_ascii=False))
    sys.exit(1 if found["problems"] else 0)


def soak(
    workspace: Path, *, minutes: float, sessions: int, think: tuple[float, float]
) -> dict[str, Any]:
    """Serve the workspace to random visitors; what was measured, and what was wrong."""
    port = free_port()
    log, costs = workspace.parent / "server.txt", workspace.parent / "costs.jsonl"
    words = [str(costs), "app.py", "--server.port", str(port)]
    with log.open("wb") as stream:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.served", *words],
            cwd=ROOT,
            env={**os.environ, "PAIRTRACE_WORKSPACE": str(workspace)},
            stdout=stream,
            stderr=stream,
        )
        try:
            wait_until_up(f"http://127.0.0.1:{port}/_stcore/health")
            started = spent(server.pid)
            seen, memory, ended = asyncio.run(_visits(port, server.pid, minutes, sessions, think))
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()
            _stop_jobs(Store(workspace))
    asked = {"minutes": minutes, "sessions": sessions, "think_seconds": think}
    used = {name: round(ended[name] - started[name], 1) for name in ended}
    runs = pd.read_json(costs, lines=True)
    found = report(seen, memory, log.read_text(errors="replace"))
    return (
        asked | {"load": os.getloadavg()[0], "cpu_seconds": used} | server_side(runs, used) | found
    )


def spent(server: int) -> dict[str, float]:
    """CPU-seconds so far: of the server, its jobs, the browsers with this tool, and all others."""
    working = {child.pid for child in psutil.Process(server).children(recursive=True)}
    ended = psutil.Process(server).cpu_times()
    used = {"server": 0.0, "jobs": ended.children_user + ended.children_system, "browsers": 0.0}
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            times, pid = process.cpu_times(), process.pid
            whose = "server" if pid == server else "jobs" if pid in working else "browsers"
            used[whose] += times.user + times.system
    machine = psutil.cpu_times()
    busy = machine.user + machine.nice + machine.system
    return used | {"others": busy - sum(used.values())}


def server_side(runs: pd.DataFrame, used: dict[str, float]) -> dict[str, Any]:
    """What the script cost the server: seconds of wall and CPU, over all runs and by page."""
    by_page = {
        page: {
            "runs": len(group),
            "cpu_p50": round(group["cpu"].median(), 3),
            "cpu_p95": round(group["cpu"].quantile(0.95), 3),
            "wall_p95": round(group["wall"].quantile(0.95), 3),
        }
        for page, group in runs.groupby("page")
    }
    whole = {
        f"{kind}_{name}": round(float(runs[kind].quantile(q)), 3)
        for kind in ("cpu", "wall")
        for name, q in (("p50", 0.5), ("p95", 0.95), ("max", 1.0))
    }
    whole |= {"runs": len(runs), "process_cpu_per_run": round(used["server"] / len(runs), 3)}
    return {"server": whole, "server_by_page": by_page}


def _stop_jobs(store: Store) -> None:
    """Jobs outlive their server: what visitors started and left is stopped."""
    active = [info.id for info in store.infos() if info.state in ("waiting", "running")]
    jobs.cancel_all(store, active)


async def _visits(
    port: int, server: int, minutes: float, sessions: int, think: tuple[float, float]
) -> tuple[Seen, list, dict[str, float]]:
    from playwright.async_api import async_playwright

    seen = Seen()
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    async with async_playwright() as session:
        browser = await session.chromium.launch(executable_path=path, args=FLAGS)
        deadline = time.monotonic() + 60 * minutes
        visits = []
        for number in range(sessions):
            context = await browser.new_context(viewport={"width": 1440, "height": 900})
            tab, address = await context.new_page(), f"http://127.0.0.1:{port}"
            visitor = Visitor(number, tab, address, seen, think)
            visits.append(visitor.visit(deadline))
        memory = asyncio.create_task(_memory(server, deadline))
        for ended in await asyncio.gather(*visits, return_exceptions=True):
            if ended is not None:
                seen.problems.append(f"a visitor was stopped by {type(ended).__name__}: {ended}")
        kept, ended = await memory, spent(server)
        await browser.close()
    return seen, kept, ended


async def _memory(server: int, deadline: float) -> list[tuple[float, float]]:
    """Minutes since the start, and MB that the server holds, every two seconds."""
    process, began, kept = psutil.Process(server), time.monotonic(), []
    while time.monotonic() < deadline:
        kept.append(((time.monotonic() - began) / 60, process.memory_info().rss / 1e6))
        await asyncio.sleep(2)
    return kept


def report(seen: Seen, memory: list[tuple[float, float]], log: str) -> dict[str, Any]:
    """What people met, the server's memory, and the problems that these amount to."""
    at, held = np.array(memory).T
    warm = at >= WARM_UP * at[-1]
    tenth = max(1, int(warm.sum()) // 10)
    first, last = np.median(held[warm][:tenth]), np.median(held[warm][-tenth:])
    reruns = pd.DataFrame(seen.reruns, columns=["seconds", "page", "action"])
    p50, p95 = reruns["seconds"].quantile([0.5, 0.95])
    problems = [f"{n} × {text}" for text, n in Counter(seen.problems).most_common(40)]
    if "Traceback" in log:
        problems.append("the server's log: " + log[log.index("Traceback") :][:2000])
    if p95 > SLOWEST_P95:
        problems.append(f"p95 of the reruns is {p95:.2f} s, over {SLOWEST_P95} s")
    if last > GROWTH * first:
        problems.append(f"the server's memory grew from {first:.0f} to {last:.0f} MB after warm-up")
    return {
        "actions": dict(sorted(seen.actions.items())),
        "reruns": len(reruns),
        "rerun_seconds": {
            "p50": round(p50, 2),
            "p95": round(p95, 2),
            "max": round(reruns["seconds"].max(), 2),
            "p95_by_action": reruns.groupby("action")["seconds"].quantile(0.95).round(2).to_dict(),
            "p95_by_page": reruns.groupby("page")["seconds"].quantile(0.95).round(2).to_dict(),
        },
        "slowest": reruns.round(2).nlargest(15, "seconds").to_numpy().tolist(),
        "visit_seconds": sorted(round(seconds, 2) for seconds, _, _ in seen.visits),
        "memory_mb": {"warm": round(first), "end": round(last), "most": round(held.max())},
        "memory_mb_per_minute": round(float(np.polyfit(at[warm], held[warm], 1)[0]), 2),
        "problems": problems,
    }


if __name__ == "__main__":
    main()
