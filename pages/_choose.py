"""Choices that several pages offer, kept in the URL so that a copied link restores them."""

import streamlit as st

from core.data.behaviors import Behavior
from core.runs.project import Project
from core.runs.specs import DiscoverSpec, RankSpec
from pages import _jobs, _loaders, _plan


def behavior(project: Project, *, traced: bool = False) -> Behavior:
    """One behavior of the project; with `traced`, the unwanted ones only."""
    options = _plan.unwanted(project) if traced else list(project.behaviors)
    names = [one.name for one in options]
    name = st.selectbox(
        "Behavior", names, key="behavior", bind="query-params", help="What is measured, and where."
    )
    chosen = project.behavior(name or names[0])
    st.caption(_said(chosen))
    return chosen


def ranking(project: Project, chosen: Behavior) -> str | None:
    """A finished rank run for a behavior; where there is none, offer to make one."""
    known = {run: spec for run, spec in _loaders.specs(RankSpec).items() if spec.behavior == chosen}
    finished = [run for run in known if _loaders.store().state(run) == "finished"]
    planned = project.rank(*_inputs(project), chosen)
    default = _loaders.store().run_id(planned)
    options = sorted(finished, key=lambda run: run != default)
    if not options:
        return _offer_ranking(planned)
    if len(options) == 1:
        return options[0]
    return st.selectbox(
        "Ranking",
        options,
        format_func=lambda run: (
            f"layer {known[run].layer or 'chosen'}, {known[run].method} · {run}"
        ),
        key="ranking",
        bind="query-params",
    )


def discovery(project: Project) -> str | None:
    """A finished discover run; where there is none, offer to make one."""
    finished = _loaders.store().finished("discover")
    planned = project.discover(*_inputs(project))
    default = _loaders.store().run_id(planned)
    options = sorted(finished, key=lambda run: run != default)
    if not options:
        st.info("There is no map yet. It needs both models' completions and the pairs' vectors.")
        _jobs.panel(planned, "Draw the map")
        return None
    if len(options) == 1:
        return options[0]
    known = _loaders.specs(DiscoverSpec)
    return st.selectbox(
        "Map",
        options,
        format_func=lambda run: f"clusters of at least {known[run].min_cluster_size} · {run}",
        key="discover",
        bind="query-params",
    )


def _offer_ranking(planned: RankSpec) -> None:
    st.info("These pairs are not ranked for this behavior yet.")
    _jobs.panel(planned, "Rank the pairs")


def _inputs(project: Project) -> tuple[str, str]:
    store = _loaders.store()
    return store.run_id(project.generate()), store.run_id(project.index())


def _said(chosen: Behavior) -> str:
    where = "after a distractor" if chosen.condition == "distractor" else "on the plain prompt"
    kind = "wanted" if chosen.wanted else "unwanted"
    said = f"Completions flagged `{chosen.flag}` on `{chosen.group}` prompts, {where} ({kind})."
    return f"{said} {chosen.description}".strip()
