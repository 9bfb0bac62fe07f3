"""The models of a project, checked as they are typed, what is trained, and what steps will cost."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import streamlit as st

from core import environment
from core.data import quality
from core.errors import UserError
from core.models import gguf
from core.specs.behaviors import Contrast
from core.specs.project import Project
from core.workspace import checks
from core.workspace.estimates import (
    CHARACTERS_PER_TOKEN,
    SERVERS,
    Machine,
    Work,
    contrast_facts,
    contrast_seconds,
    estimates,
    this_machine,
    warnings,
)
from core.workspace.presets import PAPER
from pages.components import cache, text
from pages.components.setup.files import kept, section, typed_path

Model = tuple[Path, checks.ModelFacts]
REFERENCE = "Reference: the model before preference training"
TRAINED = {"all weights": {}, "low-rank updates (LoRA)": {"method": "lora"}}
COMPARING = ("generate", SERVERS, "discover", "evaluate, per model")  # steps that need a policy


def choose_models() -> tuple[Model | None, Model | None]:
    """Reference and policy; the reference defaults to the policy adapter's base."""
    left, right = st.columns(2)
    with left:
        reference = choose_model(REFERENCE, "reference")
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
        f"{facts.blocks} blocks × {facts.d_model} · {in_bytes(facts.shape.bytes)}"
    )
    return folder, facts


def _base_of(policy: Path) -> Model | None:
    """The base model of a policy that is an adapter."""
    base = checks.base_of(policy, environment.roots())
    if base is None:
        return None
    st.caption(f"Left empty, it is the adapter's base, {text.escape(str(base))}")
    return _show_model(base)


def ask_training(model: Path) -> str:
    """What DPO trains, a key of `TRAINED`; as the model was trained where it is an adapter."""
    with section("Retraining"):
        return kept(
            st.radio,
            "What DPO trains",
            list(TRAINED),
            index=int(checks.base_of(model, environment.roots()) is not None),
            key="trained",
            horizontal=True,
            help="Low-rank updates take less memory, and are merged into the weights at the end. "
            "They are preselected where the policy is an adapter: it was trained that way.",
        )


def show_contrast_cost(project: Project, contrast: Contrast) -> None:
    """What a behavior without a judge is made from, how long that takes, what speaks against it."""
    facts = contrast_facts(project, contrast)
    seconds = contrast_seconds(
        checks.model_facts(Path(project.reference)),
        facts,
        project.contrast(contrast).max_new_tokens,
        this_machine(cache.store().workspace),
    )
    sampled = f"{facts.sampled:,} completions to sample, " if facts.sampled else ""
    st.text(
        f"{facts.prompts:,} prompts: {sampled}{facts.read:,} to read, about {_duration(seconds)} "
        "here."
    )
    for warning in facts.warnings:
        st.warning(text.escape(warning))


def show_costs(
    model: checks.ModelFacts, pairs: quality.Size, sent: tuple[int, int] | None, *, low_rank: bool
) -> None:
    """Time, memory and disk of each step on this machine, and what will not fit.

    `sent`: how many texts are sent of the prompts, and of the held-out prompts; None: no policy.
    """
    try:
        machine = this_machine(cache.store().workspace)
    except UserError as error:  # the environment names an unknown device or executor
        text.refuse(error)
        return
    work = Work(
        pairs=pairs.rows,
        tokens_per_pair=pairs.characters_per_pair / CHARACTERS_PER_TOKEN,
        texts_sent=sent[0] if sent else 0,
        heldout_sent=sent[1] if sent else 0,
        rollouts=8,
        max_new_tokens=64,
        answer_tokens=pairs.characters_per_answer / CHARACTERS_PER_TOKEN,
        low_rank=low_rank,
    )
    steps = estimates(model, work, machine)
    if sent is None:
        steps = [step for step in steps if step.step not in COMPARING]
    rows = {
        "step": [step.step for step in steps],
        "time": [_duration(step.seconds) for step in steps],
        "memory": [in_bytes(step.memory) for step in steps],
        "disk": [in_bytes(step.disk + step.temporary) if step.disk else "—" for step in steps],
    }
    if machine.shards:
        rows["vectors"] = [in_bytes(step.shards) if step.shards else "—" for step in steps]
    st.dataframe(pd.DataFrame(rows), hide_index=True, height="content")
    about = "" if pairs.exact else "about "
    gpu = "an NVIDIA GPU" if machine.gpu else "no GPU"
    kept = in_bytes(next(step.disk for step in steps if step.temporary))
    st.caption(
        f"For {about}{pairs.rows:,} pairs on {machine.cores} cores and {gpu}, "
        f"{machine.memory / 1e9:,.0f} GB of memory and {machine.disk / 1e9:,.0f} GB of disk free. "
        f"{_shards(machine)}Of a training's disk {kept} stay, the trained model; its checkpoints "
        "and its pairs' tokens are deleted when it ends. On the shipped organism, times are right "
        "within a factor of two; peak memory within 15% on the models that were measured."
    )
    if sent is not None:
        st.caption(_many_completions(model, work, machine))
    for warning in warnings(steps, machine):
        st.warning(text.escape(warning))


def _many_completions(model: checks.ModelFacts, work: Work, machine: Machine) -> str:
    """What the paper's number of completions costs, of models loaded here and of servers."""
    papers = replace(work, rollouts=PAPER["generate"]["rollouts"])
    seconds = {cost.step: cost.seconds for cost in estimates(model, papers, machine)}
    return (
        f"From servers (vLLM and the like, `--sampler openai`) with a GPU per model. With "
        f"{papers.rollouts} completions per prompt, as in the paper, generate takes "
        f"{_duration(seconds['generate'])} here and {_duration(seconds[SERVERS])} from servers."
    )


def _shards(machine: Machine) -> str:
    """Where vectors are stored, if outside the workspace."""
    if not machine.shards:
        return ""
    free = machine.shards_disk
    room = "" if free is None else f", where {free / 1e9:,.0f} GB are free"
    return f"Vectors go to {text.escape(machine.shards)}{room}; a ranking fetches one layer. "


def in_bytes(n: float) -> str:
    """A size in the unit that people would use."""
    return f"{n / 1e9:,.1f} GB" if n >= 1e8 else f"{max(n / 1e6, 0.1):,.1f} MB"


def _duration(seconds: float) -> str:
    """A time in the unit that people would use."""
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{max(seconds, 1):,.0f} seconds"
