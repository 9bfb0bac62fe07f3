"""Estimated time, memory and disk of each step on this machine, before any of it runs."""

import pandas as pd
import streamlit as st

from core.data import quality
from core.errors import UserError
from core.workspace import checks
from core.workspace.estimates import Machine, Work, estimates, this_machine, warnings
from pages.components import cache, text


def show(
    model: checks.ModelFacts, pairs: quality.Size, sent: tuple[int, int], *, low_rank: bool
) -> None:
    """Time, memory and disk of each step on this machine, and what will not fit.

    `sent`: how many texts are sent of the prompts, and of the held-out prompts.
    """
    try:
        machine = this_machine(cache.store().workspace)
    except UserError as error:  # the environment names an unknown device or executor
        text.refuse(error)
        return
    work = Work(
        pairs=pairs.rows,
        tokens_per_pair=pairs.characters_per_pair / 4,
        texts_sent=sent[0],
        heldout_sent=sent[1],
        rollouts=8,
        max_new_tokens=64,
        low_rank=low_rank,
    )
    steps = estimates(model, work, machine)
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
        "and its pairs' tokens are deleted when it ends. Rough: within a factor of three."
    )
    for warning in warnings(steps, machine):
        st.warning(text.escape(warning))


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
