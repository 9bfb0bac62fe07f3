"""Keyboard shortcuts: one letter each, the same on every page, listed in the sidebar.

Single letters are ignored while somebody types, and no browser uses them; with Ctrl or Shift they
would act inside text fields too. C and R are Streamlit's.

A button lists them on every page, so that the browser loads Streamlit's button code with the first
one. Otherwise a page would show its text up to a second before its keys work.
"""

import streamlit as st

ADD = "A"
START = "S"
UNDO = "Z"
REDO = "X"
NEXT = "J"
PREVIOUS = "K"
HELP = "H"
SPOT_CHECK = ("Y", "N", "U", "B")  # yes, no, cannot tell, take back

MEANING = {
    ADD: "put what is selected into the edit cart (Rank, Map, Clusters)",
    START: "start what comes next (Overview, Intervene)",
    UNDO: "undo my latest change (Clusters, Intervene)",
    REDO: "redo it",
    NEXT: "the next example (Clusters)",
    PREVIOUS: "the one before",
    " ".join(SPOT_CHECK): "spot-check: yes, no, cannot tell, take back (Results)",
    HELP: "this list",
}


def show() -> None:
    """What the keys do; for the sidebar."""
    if st.button("Keyboard", key="keyboard", type="tertiary", icon="⌨️", shortcut=HELP):
        _list()


@st.dialog("Keyboard")
def _list() -> None:
    for key, meaning in MEANING.items():
        st.text(f"{key} · {meaning}")
    st.caption("Not while a text field has the focus. Tab walks through all else, Enter presses.")
