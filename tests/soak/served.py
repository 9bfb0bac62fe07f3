"""Streamlit as it is, which also writes down what every run of the script cost the server.

    python -m tests.soak.served COSTS.jsonl app.py --server.port 8501

One line a run: page, whether only fragments ran, seconds of wall, CPU-seconds of the script's own
thread. The browsers' work, and waiting for a core that they hold, is in none of the CPU-seconds.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.scriptrunner.script_runner import ScriptRunner
from streamlit.web import cli


def measure(costs: Path) -> None:
    """Write a line to `costs` after each run of the script from now on."""
    run = ScriptRunner._run_script  # Streamlit offers no measurement of its own

    def timed(self: ScriptRunner, wanted: Any) -> None:
        began, used = time.perf_counter(), time.thread_time()
        try:
            run(self, wanted)
        finally:
            context = get_script_run_ctx()
            page = self._pages_manager.get_pages().get(context.page_script_hash, {})
            line = {
                "page": page.get("url_pathname", ""),
                "fragment": bool(wanted.fragment_id_queue),
                "wall": time.perf_counter() - began,
                "cpu": time.thread_time() - used,
            }
            with costs.open("a") as file:
                file.write(json.dumps(line) + "\n")

    ScriptRunner._run_script = timed


if __name__ == "__main__":
    measure(Path(sys.argv.pop(1)))
    sys.exit(cli.main(["run", *sys.argv[1:]], prog_name="streamlit"))
