"""What somebody typed for a new project, looked at as it is typed: a path, and the two models."""

from pathlib import Path

import streamlit as st

from core import environment
from core.errors import UserError
from core.workspace import checks
from pages.components import text
from pages.components.setup import costs

Chosen = tuple[Path, checks.ModelFacts]


def choose_models() -> tuple[Chosen | None, Chosen | None]:
    """Reference and policy; without a reference, an adapter's base."""
    left, right = st.columns(2)
    with left:
        reference = choose_model("Reference: the model before preference training", "reference")
    with right:
        policy = choose_model("Policy: the model after it", "policy")
    if policy and not st.session_state["reference"].strip():
        with left:
            reference = base_of(policy[0])
    return reference, policy


def choose_model(label: str, key: str) -> Chosen | None:
    """A model folder and what it holds."""
    typed = st.text_input(label, key=key, placeholder="folder of a model, or of a LoRA adapter")
    folder = given_path(typed)
    return None if folder is None else model_at(folder)


def model_at(folder: Path) -> Chosen | None:
    """A folder and what it holds, shown; None, and a word, where it is no model."""
    try:
        facts = checks.model_facts(folder, environment.roots())
    except UserError as error:
        text.refuse(error)
        return None
    base = checks.base_of(folder, environment.roots())
    st.caption(
        (f"LoRA adapter of {text.escape(str(base))}, with it " if base else "")
        + f"{text.escape(facts.kind)} · {facts.parameters / 1e6:,.1f}M parameters · "
        f"{facts.blocks} blocks × {facts.d_model} · {costs.in_bytes(facts.bytes)}"
    )
    return folder, facts


def base_of(policy: Path) -> Chosen | None:
    """The reference where none is given and the policy is an adapter: the model that it is for."""
    base = checks.base_of(policy, environment.roots())
    if base is None:
        return None
    st.caption(f"Left empty, it is the adapter's base, {text.escape(str(base))}")
    return model_at(base)


def go_together(reference: Chosen, policy: Chosen) -> bool:
    """Whether two models can be compared; what is odd about them is shown."""
    try:
        checks.check_pair_of_models(reference[1], policy[1])
    except UserError as error:
        text.refuse(error)
        return False
    with st.spinner("Comparing the models' files"):
        odd = checks.model_warnings(reference[0], policy[0])
    for warning in odd:
        st.warning(text.escape(warning))
    return True


def given_path(typed: str) -> Path | None:
    """A path that exists and may be read; None, and a word, where it does not."""
    if not typed.strip():
        return None
    try:
        return checks.allowed_path(typed, environment.roots())
    except UserError as error:
        text.refuse(error)
        return None
