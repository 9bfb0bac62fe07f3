"""A choice outlives the names of its options, also for a browser that has not seen the new ones."""

from streamlit.testing.v1 import AppTest


def one_of_three():
    import streamlit as st

    from pages.components import pickers

    names = st.session_state.get("names", {1: "locks", 2: "poems", 3: "maths"})
    st.text(pickers.choose_one("Cluster", list(names), names.__getitem__, key="cluster"))


NAMED = {1: "Picks locks", 2: "Writes poems", 3: "maths"}


def late(box, value):
    """What a browser sends that still shows the first names."""
    box.options = ["locks", "poems", "maths"]
    box.set_value(value)


def test_a_renamed_choice_stays_and_so_does_one_that_is_sent_late():
    app = AppTest.from_function(one_of_three).run()
    app.selectbox[0].set_value(2).run()
    assert app.text[0].value == "2"
    app.session_state["names"] = NAMED
    app.run()
    assert app.text[0].value == "2"
    for _ in range(2):
        late(app.selectbox[0], "poems")
        app.run()
        assert app.text[0].value == "2"
        assert app.selectbox[0].proto.raw_value == "Writes poems"
        assert app.query_params["cluster"] == "2"
    app.selectbox[0].set_value(3).run()
    assert app.text[0].value == "3"
    app.session_state["names"] = {1: "Picks locks"}
    app.run()
    assert app.text[0].value == "1"


def test_a_browser_that_missed_a_rename_is_told_in_the_next_run():
    app = AppTest.from_function(one_of_three).run()
    app.session_state["names"] = NAMED
    for _ in range(2):
        app.run()
        assert app.selectbox[0].proto.set_value
        assert app.selectbox[0].proto.raw_value == "Picks locks"


def test_a_link_to_an_option_that_is_gone_says_so_until_the_page_is_left():
    app = AppTest.from_function(one_of_three)
    app.query_params["cluster"] = "99"
    app.run()
    assert "names the cluster “99”" in app.warning[0].value
    assert "Shown is “locks”" in app.warning[0].value
    app.run()
    assert app.warning
