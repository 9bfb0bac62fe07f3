"""The browser app: gives Streamlit the shell, `pages/_shell.py`.

The shell is not this file, because Streamlit takes a folder `pages/` beside its script for its
old multipage layout until `st.navigation` has run once: the first visitor of a fresh server who
follows a link to /rank would get that page alone, past the shell. Beside `pages/_shell.py` there
is no such folder, so every request runs the shell, under `pairtrace app` and `streamlit run`.
"""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

from streamlit.starlette import App

from core.runs.jobs import allow_warm

PAGES = Path(__file__).parent / "pages"


@asynccontextmanager
async def with_pages_imported(_: App) -> AsyncIterator[None]:
    """Import what the pages import before the server answers.

    Otherwise the first visitor would wait for it, while the browser competes for the same cores.
    Imported objects live as long as the server, so they are frozen out of the garbage collection
    after each run, which took longer than most pages.
    """
    import_pages()
    allow_warm()
    gc.collect()  # garbage would be frozen, too
    gc.freeze()
    yield


def import_pages() -> None:
    """Import every module that pages share."""
    for module in walk_packages([str(PAGES)], "pages."):
        if module.name.startswith("pages.components."):
            import_module(module.name)


app = App(PAGES / "_shell.py", lifespan=with_pages_imported)
