"""Coarser and finer: the same map cut at another level of its tree, as a run of its own."""

import streamlit as st

from core.discovery.tree import groups, levels
from core.runs.specs import DiscoverSpec
from pages import _jobs, _loaders

AS_FOUND = 0.0  # no distance: the clusters that discovery itself made


def show(run: str) -> None:
    """A slider over the tree; names and marks stay with their map, and are offered on the other."""
    spec = _loaders.specs(DiscoverSpec)[run]
    base = spec.recut or run
    if not _loaders.has_table(base, "tree"):
        return
    tree = _loaders.table(base, "tree")
    known = {level: n for n, level in levels(tree).items()}
    if not known:
        return
    numbers = {level: f"{n}" for level, n in known.items()}
    if spec.level is not None and spec.level not in known:  # typed by hand
        known[spec.level] = groups(tree, spec.level)
        numbers[spec.level] = f"{known[spec.level]} at {spec.level:.3g}"
    with st.expander("Coarser or finer: cut the map at another level", key="open-levels"):
        st.caption(
            "Groups that lie densely together on the map split as you go finer. A cut makes "
            "clusters of such groups; the places of the pairs stay as they are. It is a map of its "
            "own: what was said here stays here, and is offered to the clusters there that hold "
            "the same pairs."
        )
        chosen = st.select_slider(
            "Groups on the map",
            [AS_FOUND, *sorted(known, key=lambda level: (known[level], -level))],
            value=spec.level or AS_FOUND,
            format_func=lambda level: numbers.get(level, "as found"),
            key=f"level-{run}",
        )
        if chosen == AS_FOUND:
            other: str | None = base
        else:
            other = _jobs.panel(
                spec.model_copy(update={"recut": base, "level": chosen}), "Cut it here"
            )
        if other is not None and other != run:
            st.button("Show this cut", on_click=_open, args=(other,), key="show-cut")


def _open(run: str) -> None:
    st.session_state["discover"] = run
