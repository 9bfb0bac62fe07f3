"""The steps of an investigation up to retraining, as the project asks for them.

Runs are named by their content, so that every id is known before anything runs, and a page can
show the whole plan, ask after each run's state, and queue what is missing in one click.

Whether what a page shows was made from what the project has now: models, pairs, prompts.
"""

from dataclasses import dataclass

import streamlit as st

from core.intervention.evaluation.results import rose
from core.specs.base import Spec
from core.specs.behaviors import Behavior
from core.specs.project import Project
from core.specs.steps import DiscoverSpec, RankSpec, is_run
from pages.components import cache, jobs


@dataclass(frozen=True)
class Step:
    """One run of the plan; `spec` is None while what it needs is not known yet."""

    name: str
    what: str
    spec: Spec | None
    run: str = ""
    blocked: str = ""


def steps(project: Project) -> list[Step]:
    """In an order in which every input precedes its user; the first one generates."""
    generate = _step(
        "generate", "both models complete the prompts; a judge reads", project.generate()
    )
    index = _step("index", "every pair becomes a vector, read by the reference", project.index())
    steps = [*_conversion(project), generate, index]
    for behavior in unwanted(project):
        steps.append(_rank(project, behavior, generate, index))
    discover = project.discover(generate.run, index.run)
    steps.append(_step("discover", "map and clusters of all pairs", discover))
    for name in ("reference", "policy"):
        spec = project.evaluate(getattr(project, name))
        steps.append(_step(f"evaluate {name}", "rates on held-out prompts", spec))
    return steps


def _conversion(project: Project) -> list[Step]:
    """The run that brings the pairs into our own form, where they came in another."""
    if not is_run(project.pairs):
        return []
    spec = cache.store().spec(project.pairs)
    return [Step("convert", "the pairs in one file, and their health", spec, project.pairs)]


def unwanted(project: Project) -> list[Behavior]:
    """Behaviors that nobody asked for: the ones to trace."""
    return [behavior for behavior in project.behaviors if not behavior.wanted]


def warn_if_not_risen(project: Project, behavior: Behavior) -> None:
    """Say what a ranking is worth where the policy does not show the behavior more often."""
    generated = cache.store().run_id(project.generate())
    if cache.store().state(generated) != "finished":
        return
    if not rose([behavior], cache.table(generated, "rates")):
        st.warning(
            "The policy does not clearly show this behavior more often than the reference: there "
            "is nothing to trace. A ranking may find no prompt to start from, and then fails."
        )


def _rank(project: Project, behavior: Behavior, generate: Step, index: Step) -> Step:
    """A ranking needs completions that show the behavior, so it waits for the rates."""
    name, what = f"rank {behavior.name}", "pairs ordered by how far they push towards it"
    if cache.store().state(generate.run) != "finished":
        return Step(name, what, None, blocked="after generate")
    if not rose([behavior], cache.table(generate.run, "rates")):
        return Step(name, what, None, blocked="did not rise: nothing to trace")
    return _step(name, what, project.rank(generate.run, index.run, behavior))


def _step(name: str, what: str, spec: Spec) -> Step:
    return Step(name, what, spec, cache.store().run_id(spec))


NAMES = {"pairs": "preference pairs", "model": "reference"}  # of fields, where they differ


def warn_if_outdated(
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
    jobs.panel(planned, again)


def _changed(
    made: RankSpec | DiscoverSpec, planned: RankSpec | DiscoverSpec, project: Project
) -> list[str]:
    """Inputs whose content is another now, in words."""
    store = cache.store()
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
