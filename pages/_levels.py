"""Coarser and finer: the same map cut at another level of its tree, as a run of its own."""

import streamlit as st

from core.discovery.tree import levels
from core.runs.specs import DiscoverSpec
from pages import _jobs, _loaders

AS_FOUND = 0  # groups: the clusters that discovery itself made


def show(run: str) -> None:
    """A slider over the tree; names and marks stay with their map, and are offered on the other."""
    spec = _loaders.specs(DiscoverSpec)[run]
    base = spec.recut or run
    if not _loaders.has_table(base, "tree"):
        return
    known = levels(_loaders.table(base, "tree"))
    if not known:
        return
    with st.expander("Coarser or finer: cut the map at another level"):
        st.caption(
            "Groups that lie densely together on the map split as you go finer. A cut makes "
            "clusters of such groups; the places of the pairs stay as they are. It is a map of its "
            "own: what was said here stays here, and is offered to the clusters there that hold "
            "the same pairs. Stability over prompts, and parts of behaviors, are not computed."
        )
        options = [AS_FOUND, *known]
        there = [n for n, level in known.items() if level == spec.level]
        chosen = st.select_slider(
            "Groups on the map",
            options,
            value=there[0] if there else AS_FOUND,
            format_func=lambda n: "as found" if n == AS_FOUND else f"{n}",
            key=f"level-{run}",
        )
        if chosen == AS_FOUND:
            other: str | None = base
        else:
            finer = spec.model_copy(update={"recut": base, "level": known[chosen]})
            other = _jobs.panel(finer, "Cut it here")
        if other is not None and other != run:
            st.button("Show this cut", on_click=_open, args=(other,), key="show-cut")


def _open(run: str) -> None:
    st.session_state["discover"] = run
