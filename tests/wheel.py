"""Build the wheel, install it into an empty environment, and use it there: `python -m tests.wheel`.

Run by CI, not by pytest: it installs torch a second time. Everything happens in a new folder that
is not the clone; the installed files are made read-only first.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from pathlib import Path

import psutil

from benchmarks._browser import free_port, wait_until_up

ROOT = Path(__file__).parents[1]
TORCH = "torch>=2.6,<2.14"  # first and bounded, as in the Makefile


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        wheel = build(place)
        pairtrace = install(wheel, place / "environment")
        work = place / "somewhere"
        work.mkdir()
        check(pairtrace, work)
    print("the wheel works: init, check, bench, app")


def build(place: Path) -> Path:
    """The one wheel of this clone; sdist and caches stay out of the clone."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--wheel-dir", place / "dist", ROOT], check=True)
    (wheel,) = (place / "dist").glob("*.whl")
    return wheel


def install(wheel: Path, folder: Path) -> Path:
    """The command of a new environment that holds the wheel, read-only, and what it asks for."""
    venv.create(folder, with_pip=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
    for wanted in (TORCH, wheel):
        subprocess.run([*pip, wanted], check=True, env=environment())
    (site,) = (folder / "lib").glob("python*/site-packages")
    for top in ("core", "pages", "assets", "benchmarks"):
        subprocess.run(["chmod", "-R", "a-w", site / top], check=True)
    return folder / "bin" / "pairtrace"


def check(pairtrace: Path, work: Path) -> None:
    """The commands that need shipped files, from a folder of somebody else's."""
    assert run(pairtrace, work, "init")["workspace"] == str(work / "workspace")
    checked = run(pairtrace, work, "check")
    assert checked["summary"]["n_pairs"] > 1000, checked
    assert "extraction" in unknown_benchmark(pairtrace, work)
    served(pairtrace, work)


def run(pairtrace: Path, work: Path, *words: str) -> dict:
    """What a command prints with --json."""
    done = subprocess.run(
        [pairtrace, *words, "--json"], cwd=work, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def unknown_benchmark(pairtrace: Path, work: Path) -> str:
    """The refusal, which names the benchmarks that were installed."""
    done = subprocess.run(
        [pairtrace, "bench", "nothing"], cwd=work, env=environment(), capture_output=True, text=True
    )
    assert done.returncode, done.stdout
    return done.stderr


def served(pairtrace: Path, work: Path) -> None:
    """The app answers, on this machine only."""
    port = free_port()
    server = subprocess.Popen([pairtrace, "app", "--port", str(port)], cwd=work, env=environment())
    try:
        wait_until_up(f"http://127.0.0.1:{port}/_stcore/health")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/overview", timeout=60) as page:
            assert page.status == 200
        time.sleep(2)
        connections = psutil.Process(server.pid).net_connections("inet")
        assert {c.laddr.ip for c in connections} == {"127.0.0.1"}, connections
    finally:
        server.terminate()
        server.wait(60)


def environment() -> dict[str, str]:
    """Without what would lead Python back to the clone."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


if __name__ == "__main__":
    main()
