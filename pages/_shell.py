"""What surrounds every page: navigation, the workspace and the edit cart in the sidebar."""

import streamlit as st

from core.errors import UserError
from pages import _cart, _jobs, _loaders

NAMES = ("overview", "behaviors", "rank", "map", "clusters", "intervene", "results")


def go_to_overview() -> None:
    """What / opens. Streamlit's default page has no name of its own, and /overview needs one."""
    st.switch_page(pages[0])


st.set_page_config(page_title="PairTrace", layout="wide")
pages = [st.Page(f"{name}.py", title=name.capitalize(), url_path=name) for name in NAMES]
home = st.Page(go_to_overview, title="PairTrace", default=True, visibility="hidden")
page = st.navigation([*pages, home])
try:
    with st.sidebar:
        _loaders.show_workspace()
        _cart.show()
        _jobs.show_queue()
    page.run()
except UserError as error:
    st.error(str(error))
