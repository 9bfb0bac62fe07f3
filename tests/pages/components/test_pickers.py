"""A choice outlives the names of its options, also for a browser that has not seen the new ones."""

from streamlit.testing.v1 import AppTest


def one_of_three():
    import streamlit as st

    from pages.components import pickers

    names = st.session_state.get("names", {1: "locks", 2: "poems", 3: "maths"})
    st.text(pickers.choose_one("Cluster", list(names), names.__getitem__, key="cluster"))


def any_of_three():
    import streamlit as st

    from pages.components import pickers

    names = st.session_state.get("names", {1: "locks", 2: "poems", 3: "maths"})
    st.text(pickers.choose_many("Clusters", list(names), names.__getitem__, key="clusters"))


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


def test_renamed_choices_stay_and_so_do_those_that_are_sent_late():
    app = AppTest.from_function(any_of_three).run()
    app.multiselect[0].set_value([2, 3]).run()
    app.session_state["names"] = NAMED
    app.run()
    assert app.text[0].value == "[2, 3]"
    late(app.multiselect[0], ["poems", "locks"])
    app.run()
    assert app.text[0].value == "[2, 1]"
    app.multiselect[0].set_value([]).run()
    assert app.text[0].value == "[]"
    app.session_state["names"] = {2: "poems"}
    app.run()
    assert app.text[0].value == "[]"
