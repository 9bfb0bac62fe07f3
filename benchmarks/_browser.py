"""An app server and a headless Chromium for the benchmarks of pages."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from core.errors import UserError

ROOT = Path(__file__).parents[1]
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--use-angle=swiftshader"]
FIND_MS, RUN_SECONDS, UP_SECONDS = 20_000, 300.0, 60
QUIET_MS = 300  # a run that follows a run, as `st.rerun` asks for, has begun by then
AT_REST = """() => !document.querySelector('[data-testid="stSkeleton"]') && document.querySelector(
  '[data-testid="stApp"][data-test-script-state="notRunning"]')"""
PAINTED = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


class Missed(Exception):
    """A gesture that failed or had no effect."""


@contextmanager
def chromium() -> Iterator[Any]:
    """The Chromium on the PATH, started; `UserError` if there is none."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise UserError("This needs Playwright: pip install 'pairtrace[dev]'.") from error
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise UserError("This benchmark needs Chromium: install it, so that `chromium` is found.")
    with sync_playwright() as session:
        browser = session.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def serving(workspace: Path) -> Iterator[tuple[str, int]]:
    """The app over a workspace on a free port: its address and its process id."""
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    environment = {**os.environ, "PAIRTRACE_WORKSPACE": str(workspace)}
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    try:
        wait_until_up(f"http://127.0.0.1:{port}/_stcore/health")
        yield f"http://127.0.0.1:{port}", server.pid
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


def free_port() -> int:
    """A free TCP port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def wait_until_up(address: str) -> None:
    """Return once an address answers; `TimeoutError` if it does not within a minute."""
    for _ in range(10 * UP_SECONDS):
        try:
            urllib.request.urlopen(address, timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(f"{address} did not answer within {UP_SECONDS} s")


def peak_gb(pid: int) -> float:
    """Peak resident memory of a process, mapped files included (Linux's VmHWM), in GB."""
    status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert match is not None
    return round(int(match[1]) * 1024 / 1e9, 2)


class Tab:
    """A tab that tracks, by its socket, which script runs it requested and which have ended."""

    def __init__(self, browser: Any) -> None:
        self.page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        self.page.set_default_timeout(FIND_MS)
        self.page.on("websocket", self._listen)
        self.asked = self.began = 0
        self.resting = False

    def timed(self, gesture: Callable[[Any], Callable[[], Any]]) -> float:
        """Seconds from an event to the settled page; `Missed` if the gesture fails.

        `gesture` prepares the page and returns the event.
        """
        from playwright.sync_api import Error

        try:
            act = gesture(self.page)
            asked, start = self.asked, time.perf_counter()
            act()
            return self._settled(asked) - start
        except Error as error:
            raise Missed(str(error).partition("\n")[0]) from error

    def errors(self) -> list[str]:
        """The errors that the page shows."""
        kinds = '[data-testid="stException"], [data-testid="stAlertContentError"]'
        return [text[:200] for text in self.page.locator(kinds).all_inner_texts()]

    def _settled(self, asked: int) -> float:
        """Time when the page came to rest after a run requested after the first `asked`."""
        self._until(lambda: self.asked > asked, FIND_MS / 1000, "no script run came of it")
        while True:
            self._until(lambda: self.resting, RUN_SECONDS, "its script run did not end")
            self.page.wait_for_function(AT_REST)
            self.page.evaluate(PAINTED)
            end, began = time.perf_counter(), self.began
            self.page.wait_for_timeout(QUIET_MS)
            if self.resting and self.began == began:
                return end

    def _until(self, condition: Callable[[], bool], seconds: float, otherwise: str) -> None:
        limit = time.perf_counter() + seconds
        while not condition():
            self.page.wait_for_timeout(5)
            if time.perf_counter() > limit:
                raise Missed(otherwise)

    def _listen(self, socket_: Any) -> None:
        socket_.on("framesent", self._sent)
        socket_.on("framereceived", self._received)

    def _sent(self, frame: bytes | str) -> None:
        if isinstance(frame, bytes) and BackMsg.FromString(frame).HasField("rerun_script"):
            self.asked, self.resting = self.asked + 1, False

    def _received(self, frame: bytes | str) -> None:
        if not isinstance(frame, bytes):
            return
        message = ForwardMsg.FromString(frame)
        if message.HasField("new_session"):
            self.began, self.resting = self.began + 1, False
        elif message.HasField("script_finished"):
            self.resting = message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN
