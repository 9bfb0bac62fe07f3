"""Whether what a page shows was made from what the project has now: models, pairs, prompts."""

import streamlit as st

from core.runs.project import Project
from core.runs.specs import DiscoverSpec, RankSpec
from pages import _jobs, _loaders

NAMES = {"pairs": "preference pairs", "model": "reference"}  # of fields, where they differ


def show(
    made: RankSpec | DiscoverSpec, planned: RankSpec | DiscoverSpec, project: Project, again: str
) -> None:
    """Say what the project has changed since a run was made, and offer to make the planned one."""
    changed = _changed(made, planned, project)
    if not changed:
        return
    st.warning(
        f"The project now has other {', '.join(changed)} than when this was made. "
        "What is shown holds for what it had then."
    )
    _jobs.panel(planned, again)


def _changed(
    made: RankSpec | DiscoverSpec, planned: RankSpec | DiscoverSpec, project: Project
) -> list[str]:
    """Inputs whose content is another now, in words."""
    store = _loaders.store()
    names = []
    for then, now, spec in (
        (made.generate, planned.generate, project.generate()),
        (made.index, planned.index, project.index()),
    ):
        if then != now and store.state(then) != "absent":
            had = store.record(then).get("contents") or {}
            has = store.contents(spec)
            names += [name for name, what in has.items() if had.get(name, what) != what]
    return list(dict.fromkeys(NAMES.get(name, name) for name in names))
