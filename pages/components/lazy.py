"""Expanders and tabs that draw nothing while they are closed: nothing is computed or sent for them.

The content of an expander runs alone when somebody opens it, not the page; nothing outside may
depend on a widget inside.
"""

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st


@st.fragment
def expander(label: str, draw: Callable[[], None], *, key: str) -> None:
    """An expander, closed at first, of what `draw` draws."""
    place = st.expander(label, key=key, on_change="rerun")
    if place.open:
        with place:
            draw()


def tabs(parts: Mapping[str, Callable[[], None]], *, key: str, **settings: Any) -> None:
    """Tabs by label, of which the open one is drawn."""
    for place, draw in zip(st.tabs(list(parts), key=key, **settings), parts.values(), strict=True):
        if place.open:
            with place:
                draw()
