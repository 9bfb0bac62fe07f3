"""Expanders that draw nothing while they are closed."""

import pytest
from streamlit.testing.v1 import AppTest


def page():
    import streamlit as st

    from pages.components import lazy

    lazy.expander("More", lambda: st.text("inside"), key="more")


@pytest.mark.parametrize(("is_open", "drawn"), [(False, 0), (True, 1)])
def test_what_is_inside_is_drawn_only_once_it_is_open(is_open, drawn):
    app = AppTest.from_function(page)
    app.session_state["more"] = is_open
    assert len(app.run().text) == drawn
