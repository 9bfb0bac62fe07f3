"""The browser app: hands Streamlit the shell, `pages/_shell.py`.

The shell is not this file, because Streamlit takes a folder `pages/` beside its script for its
old multipage layout until `st.navigation` has run once: the first visitor of a fresh server who
follows a link to /rank would get that page alone, past the shell. Beside `pages/_shell.py` there
is no such folder, so every request runs the shell, from `pairtrace app` and `streamlit run` alike.
"""

from pathlib import Path

from streamlit.starlette import App

app = App(Path(__file__).parent / "pages" / "_shell.py")
