"""The browser app: hands Streamlit the shell, `pages/_shell.py`.

The shell is not this file, because Streamlit takes a folder `pages/` beside its script for its
old multipage layout until `st.navigation` has run once: the first visitor of a fresh server who
follows a link to /rank would get that page alone, past the shell. Beside `pages/_shell.py` there
is no such folder, so every request runs the shell, from `pairtrace app` and `streamlit run` alike.
"""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

from streamlit.starlette import App

PAGES = Path(__file__).parent / "pages"


@asynccontextmanager
async def with_pages_imported(_: App) -> AsyncIterator[None]:
    """Import what the pages import before the server answers.

    The first visitor would wait for it otherwise, while the browser competes for the same cores.
    What it leaves lives as long as the server, and is taken out of what the garbage collection
    after each run looks through: that collection held everybody up for longer than most pages.
    """
    for module in walk_packages([str(PAGES)], "pages."):
        if module.name.startswith("pages.components."):
            import_module(module.name)
    gc.collect()  # what is garbage now would be kept for ever
    gc.freeze()
    yield


app = App(PAGES / "_shell.py", lifespan=with_pages_imported)
