"""Fields for the two models of a new project, checked as they are typed."""

from pathlib import Path

import streamlit as st

from core import environment
from core.errors import UserError
from core.models import gguf
from core.workspace import checks
from pages.components import cache, text
from pages.components.setup import costs
from pages.components.setup.files import kept, typed_path

Model = tuple[Path, checks.ModelFacts]


def choose_models() -> tuple[Model | None, Model | None]:
    """Reference and policy; the reference defaults to the policy adapter's base."""
    left, right = st.columns(2)
    with left:
        reference = choose_model("Reference: the model before preference training", "reference")
    with right:
        policy = choose_model("Policy: the model after it", "policy")
    if policy and not st.session_state["reference"].strip():
        with left:
            reference = _base_of(policy[0])
    return reference, policy


def choose_model(label: str, key: str) -> Model | None:
    """A model folder with its facts."""
    hint = "folder of a model or a LoRA adapter, or a .gguf file"
    typed = kept(st.text_input, label, key=key, placeholder=hint)
    path = typed_path(typed)
    folder = None
    with text.refusing():
        folder = _dequantised(path, key) if path else None
    return _show_model(folder) if folder else None


def _dequantised(path: Path, key: str) -> Path | None:
    """The model folder that a path names; of a GGUF file, the one that it is dequantised to."""
    file = gguf.gguf_file(path)
    if file is None:
        return path
    inputs = cache.store().workspace / checks.UPLOADS
    folder = gguf.model_folder(file, inputs)
    if not folder.is_dir():
        st.caption(f"A GGUF file. Its weights are stored in floating point at {_name(folder)}.")
        if not st.button("Dequantise it", key=f"{key}-dequantise"):
            return None
        cache.store().require_writable()
        with st.spinner("Dequantising the weights"):
            gguf.dequantised(file, inputs)
    st.caption(f"Dequantised from {_name(file)}: what quantisation lost is not restored.")
    return folder


def _name(path: Path) -> str:
    return text.escape(str(path))


def comparable(reference: Model, policy: Model) -> bool:
    """Whether two models can be compared; shows why not, and warnings."""
    try:
        with st.spinner("Comparing the models' files"):
            checks.check_models(reference[0], policy[0], environment.roots())
            warnings = checks.model_warnings(reference[0], policy[0])
    except UserError as error:
        text.refuse(error)
        return False
    for warning in warnings:
        st.warning(text.escape(warning))
    return True


def _show_model(folder: Path) -> Model | None:
    """A model folder with its facts, shown; None, and the reason, where it is no model."""
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


def _base_of(policy: Path) -> Model | None:
    """The base model of a policy that is an adapter."""
    base = checks.base_of(policy, environment.roots())
    if base is None:
        return None
    st.caption(f"Left empty, it is the adapter's base, {text.escape(str(base))}")
    return _show_model(base)
