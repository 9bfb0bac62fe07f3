"""Expanders that draw nothing while they are closed.

The content is computed and sent when somebody opens one; only the content then runs, not the page.
Nothing outside may depend on a widget inside.
"""

from collections.abc import Callable

import streamlit as st


@st.fragment
def expander(label: str, draw: Callable[[], None], *, key: str) -> None:
    """An expander, closed at first, of what `draw` draws."""
    place = st.expander(label, key=key, on_change="rerun")
    if place.open:
        with place:
            draw()
