"""The shell around every page: navigation, workspace and edit cart; bars of jobs and tour."""

import streamlit as st

from core import environment
from core.errors import UserError
from pages.components import access, cache, cart, jobs, shortcuts, text, theme, tour
from pages.components.clusters import history

NAMES = ("overview", "data", "behaviors", "rank", "map", "clusters", "intervene", "results")


def show() -> None:
    """Draw the shell and the page that is asked for."""

    def go_to_overview() -> None:
        """The page at /: Streamlit's default page has no name in the URL, /overview needs one."""
        st.switch_page(pages[0] if cache.has_project() else setup)

    def show_way_to_setup() -> None:
        """Every page but a few, while there is no project."""
        st.title("No investigation here yet")
        st.text(
            "Set up an investigation: with the embedded organism, or with models and pairs of "
            "your own."
        )
        st.page_link(setup, label="Set up an investigation")

    environment.trust_code()  # the app runs nobody's code, however it was started
    st.set_page_config(layout="wide")
    cache.open_workspace()
    pages = [st.Page(f"{name}.py", title=name.capitalize(), url_path=name) for name in NAMES]
    home = st.Page(go_to_overview, title="PairTrace", default=True, visibility="hidden")
    ready = cache.has_project()
    setup = st.Page(
        "setup.py", title="Set up", url_path="setup", visibility="hidden" if ready else "visible"
    )
    learn = [
        st.Page("tour.py", title="Guided tour", url_path="tour"),
        st.Page("methods.py", title="Methods", url_path="methods"),
    ]
    groups = {"": [*pages, home, setup] if ready else [setup, *pages, home]}
    page = st.navigation(groups | {"Learn": learn})
    paths = [each.url_path for each in (*pages, setup, *learn)]
    access.require_login()
    title = f"{page.title} · {cache.title()}"
    st.set_page_config(page_title=title)
    try:
        cache.require_served()
        if ready:
            history.announce()
        with st.sidebar:
            cache.show_workspace()
            cart.show()
            access.show_others(str(cache.store().workspace), page.title)
            shortcuts.show()
            theme.show(paths)
        if ready and page != home:
            with st.container(key="bars"):
                jobs.show_bar(title)
                tour.show_bar(page.url_path)
        if ready or page in (setup, home, learn[1]):
            page.run()
        else:
            show_way_to_setup()
    except UserError as error:
        st.error(text.escape(error))


if __name__ == "__main__":  # not in a child process of a page, which imports this module again
    show()
