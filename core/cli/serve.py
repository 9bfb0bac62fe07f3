"""Start the browser app: Streamlit's server with settings of the program, not of a folder.

What keeps the app on this machine is passed as flags, which go before every configuration file
and environment variable. A clone's `.streamlit/config.toml` says the same for who calls
`streamlit run app.py`; a test holds the two equal.
"""

import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from core import environment
from core.errors import UserError
from core.workspace import recent

ROOT = Path(__file__).parents[2]  # of a clone, or where the package is installed
LOCAL = "127.0.0.1"
SETTINGS = {
    "server.headless": True,
    "server.enableCORS": True,
    "server.enableXsrfProtection": True,
    "server.enableStaticServing": False,
    "server.enableAgentApi": False,
    "server.maxUploadSize": 200,  # MB
    "server.fileWatcherType": "none",
    "server.showEmailPrompt": False,
    "browser.gatherUsageStats": False,
    "client.toolbarMode": "viewer",
    "client.showErrorLinks": False,
    "client.disableDataExport": False,
    "runner.magicEnabled": False,
}


def arguments(port: int, address: str = LOCAL) -> list[str]:
    """The command line of the server, from `-m streamlit run` on."""
    shown = "localhost" if address == LOCAL else address  # or Streamlit asks a host outside
    settings = SETTINGS | {
        "server.address": address,
        "server.port": port,
        "browser.serverAddress": shown,
        "theme.base": str(ROOT / "assets" / "theme.toml"),
    }
    flags = (
        f"--{name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in settings.items()
    )
    return ["-m", "streamlit", "run", str(ROOT / "app.py"), *flags]


def serve(folders: Sequence[Path], port: int, address: str = LOCAL) -> None:
    """Replace this process by the server of the app on these workspaces."""
    environment.refuse_trust("The app")
    for folder in folders:
        if os.pathsep in str(folder):
            raise UserError(f"{folder}: the app takes no folder with {os.pathsep!r} in its name.")
        folder.mkdir(parents=True, exist_ok=True)
    environment.serve_workspaces(folders)
    with suppress(OSError):  # a home that cannot be written: the list is a convenience
        recent.remember(folders)
    os.chdir(ROOT)  # whatever .streamlit the current folder holds is not ours
    os.execv(sys.executable, [sys.executable, *arguments(port, address)])
