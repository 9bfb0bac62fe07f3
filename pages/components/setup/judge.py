"""The judge of a project: what decides which flags a completion gets."""

import streamlit as st

from core.errors import UserError
from core.specs.behaviors import NO_JUDGE
from pages.components import text
from pages.components.setup.files import kept, typed_path

NAMED = ("refusal", NO_JUDGE)


def choose_judge() -> str:
    """What decides which flags a completion gets: a name, or the path of a file."""
    typed = str(kept(st.text_input, "Judge", value="refusal", key="judge")).strip()
    st.caption(
        "What decides which flags a completion gets. `refusal` goes by the words that refusals "
        "use; a TOML file names another: regular expressions, a classifier, a language model at an "
        "endpoint, an organism's world. `none`: no flags, only the map and clusters of pairs."
    )
    if not typed:
        text.refuse(UserError("Name a judge: `refusal`, or the path of a judge file (.toml)."))
    return typed.lower() if typed.lower() in NAMED else str(typed_path(typed) or "")
