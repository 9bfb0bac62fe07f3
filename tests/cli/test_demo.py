"""The app stays on this machine, wherever it is started and whatever settings lie there."""

import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import psutil
import pytest

from benchmarks._browser import free_port, wait_until_up
from core.cli.demo import SETTINGS, arguments

ROOT = Path(__file__).parents[2]
OPEN_TO_ALL = """
[server]
address = "0.0.0.0"
enableXsrfProtection = false
enableCORS = false
[browser]
gatherUsageStats = true
"""


def test_a_clone_says_the_same_as_the_program():
    content = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
    assert content.pop("theme") == {"base": "assets/theme.toml"}
    assert content["server"].pop("address") == "127.0.0.1"
    flat = {f"{part}.{name}": v for part, table in content.items() for name, v in table.items()}
    assert flat == SETTINGS


def test_the_flags_are_options_of_streamlit():
    from streamlit import config

    known = config.get_config_options()
    names = {flag[2:].split("=")[0] for flag in arguments(1) if flag.startswith("--")}
    assert names <= known.keys()


@pytest.fixture
def served(tmp_path):
    """The app, started in a folder whose settings open it to everybody: its process and port."""
    (tmp_path / ".streamlit").mkdir()
    (tmp_path / ".streamlit" / "config.toml").write_text(OPEN_TO_ALL)
    port = free_port()
    command = ["-m", "core.cli.main", "-w", str(tmp_path / "w"), "app", "--port", str(port)]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "STREAMLIT_SERVER_ADDRESS": "0.0.0.0",
        "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "true",
    }
    server = subprocess.Popen([sys.executable, *command], cwd=tmp_path, env=environment)
    try:
        wait_until_up(f"http://127.0.0.1:{port}/_stcore/health")
        yield psutil.Process(server.pid), port
    finally:
        server.terminate()
        server.wait(60)


def test_it_listens_on_this_machine_only_and_asks_no_other(served):
    process, port = served
    seen = []
    for _ in range(20):  # whatever it asks, it asks when it starts
        seen += process.net_connections("inet")
        time.sleep(0.1)
    assert {c.laddr.ip for c in seen if c.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
    assert port in {c.laddr.port for c in seen if c.status == psutil.CONN_LISTEN}
    assert {c.raddr.ip for c in seen if c.raddr} <= {"127.0.0.1"}
