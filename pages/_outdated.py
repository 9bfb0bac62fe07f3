"""Whether what a page shows was made from what the project has now: models, pairs, prompts."""

import streamlit as st

from core.runs.project import Project
from core.runs.specs import DiscoverSpec, RankSpec
from pages import _jobs, _loaders

NAMES = {"pairs": "preference pairs", "model": "reference"}  # of fields, where they differ


def show(made: RankSpec | DiscoverSpec, project: Project, again: str) -> None:
    """Say what the project has changed since a run was made, and offer to make one anew."""
    changed = _changed(made, project)
    if not changed:
        return
    st.warning(
        f"The project now has other {', '.join(changed)} than when this was made. "
        "What is shown holds for what it had then."
    )
    store = _loaders.store()
    inputs = store.run_id(project.generate()), store.run_id(project.index())
    planned = (
        project.rank(*inputs, made.behavior)
        if isinstance(made, RankSpec)
        else project.discover(*inputs)
    )
    _jobs.panel(planned, again)


def _changed(made: RankSpec | DiscoverSpec, project: Project) -> list[str]:
    """Inputs whose content is another now, in words."""
    store = _loaders.store()
    now = {made.generate: project.generate(), made.index: project.index()}
    names = []
    for run, planned in now.items():
        if store.state(run) != "absent":
            then = store.record(run).get("contents") or {}
            contents = store.contents(planned)
            names += [name for name, what in contents.items() if then.get(name, what) != what]
    return list(dict.fromkeys(NAMES.get(name, name) for name in names))
