"""The steps of an investigation up to retraining, and whether results are those of the plan.

Runs are named by their content. Every id is known before anything runs, so a page can show the
whole plan, look up each run's state, queue what is missing in one click, and tell that a result
was made from other models, pairs or prompts than the project has now.
"""

from dataclasses import dataclass

import streamlit as st

from core.intervention.evaluation.results import complement, fell, rose
from core.specs import project as projects
from core.specs.base import Spec
from core.specs.behaviors import Behavior, ContrastSpec
from core.specs.project import Project
from core.specs.steps import DiscoverSpec, GenerateSpec, RankSpec, is_run
from core.workspace.measurable import check_measurable, refuses_harm
from pages.components import cache, jobs, rates

RANKED = "pairs ordered by how far they push towards it"
INPUTS = {"pairs": "preference pairs", "model": "reference"}  # names of fields, where they differ


@dataclass(frozen=True)
class Step:
    """One run of the plan; `spec` is None, and `blocked` says why, while it cannot be planned."""

    name: str
    what: str
    spec: Spec | None
    run: str = ""
    blocked: str = ""


def steps(project: Project) -> list[Step]:
    """In an order in which every input precedes its user."""
    index = _step("index", "every pair becomes a vector, read by the reference", project.index())
    plan = [index]
    if project.policy and project.prompts:
        what = "both models complete the prompts; a judge reads"
        generate = _step("generate", what, project.generate())
        plan.insert(0, generate)
    if is_run(project.pairs):
        spec = cache.store().spec(project.pairs)
        convert = Step("convert", "the pairs in one file, and their quality", spec, project.pairs)
        plan.insert(0, convert)
    for contrast in project.contrasts:
        what, spec = "completions that show it, and others that do not", project.contrast(contrast)
        collect = _step(f"contrast {contrast.name}", what, spec)
        ranking = project.rank(collect.run, index.run, contrast.behavior())
        plan += [collect, _step(f"rank {contrast.name}", RANKED, ranking)]
    if not (project.policy and project.prompts):
        return plan
    flagged = [behavior for behavior in project.behaviors if not behavior.wanted]
    plan += [_rank(project, behavior, generate, index) for behavior in flagged]
    discover = project.discover(generate.run, index.run)
    plan.append(_step("discover", "map and clusters of all pairs", discover))
    for name in ("reference", "policy") if project.behaviors else ():
        spec = project.evaluate(getattr(project, name))
        plan.append(_step(f"evaluate {name}", "rates on held-out prompts", spec))
    return plan


def runs_again(old: Project, new: Project) -> tuple[list[str], list[str]]:
    """Steps that are finished now, and are not, or still are, for the project with its changes."""
    store = cache.store()
    before = {step.name: step.run for step in steps(old) if step.run}
    again, stay = [], []
    for step in steps(new):
        if step.name in before and store.state(before[step.name]) == "finished":
            is_done = bool(step.run) and store.state(step.run) == "finished"
            (stay if is_done else again).append(step.name)
    return again, stay


def unwanted(project: Project) -> list[Behavior]:
    """Behaviors that nobody asked for: the ones to trace."""
    return [behavior for behavior in project.traceable() if not behavior.wanted]


def completions_of(project: Project, behavior: Behavior) -> GenerateSpec | ContrastSpec:
    """The spec of the completions that a behavior is ranked by."""
    contrast = project.contrast_named(behavior.name)
    return project.contrast(contrast) if contrast else project.generate()


def offer_complement(project: Project, behavior: Behavior) -> None:
    """Where a fall is unwanted: trace the complement flag, which rose, or add it to be traced."""
    run = cache.store().run_id(project.generate())
    if cache.store().state(run) != "finished" or not (behavior.wanted or refuses_harm(behavior)):
        return
    measured = cache.table(run, "rates")
    other = complement(behavior, measured) if fell(behavior, measured) else None
    if other is None:
        return
    same = [b for b in unwanted(project) if _measured_on(b) == _measured_on(other)]
    flag = rates.flag_words(other.flag)
    if same:
        query = {"behavior": same[0].name}
        st.page_link("rank.py", label=f"What taught “{flag}” instead? →", query_params=query)
    elif st.button(
        f"Trace “{flag}” instead",
        key=f"complement-{behavior.name}",
        help="Adds it to the project as unwanted, so that its pairs are ranked. Evaluations of "
        "held-out prompts then run again.",
    ):
        add_behavior(project, other)


def add_behavior(project: Project, behavior: Behavior) -> None:
    """Save the project with one behavior more, and show what comes next."""
    cache.store().require_writable()
    taken = {b.name for b in project.traceable()}
    wanted = "wanted" if behavior.wanted else "unwanted"
    name = behavior.name if behavior.name not in taken else f"{behavior.name} ({wanted})"
    behaviors = (*project.behaviors, behavior.model_copy(update={"name": name}))
    changed = project.model_copy(update={"behaviors": behaviors})
    check_measurable(changed)
    projects.save(changed, cache.store().workspace)
    st.rerun()


def _measured_on(behavior: Behavior) -> tuple[str, str, str]:
    return behavior.flag, behavior.group, behavior.condition


def warn_if_not_risen(project: Project, behavior: Behavior) -> None:
    """Say what a ranking is worth where the policy does not show the behavior more often."""
    if project.contrast_named(behavior.name):  # not measured: nothing is known of its rate
        return
    generated = cache.store().run_id(project.generate())
    if cache.store().state(generated) != "finished":
        return
    if not rose([behavior], cache.table(generated, "rates")):
        st.warning(
            "The policy does not clearly show this behavior more often than the reference: there "
            "is nothing to trace. A ranking may find no prompt to start from, and then fails."
        )
        offer_complement(project, behavior)


def warn_if_outdated(
    made: RankSpec | DiscoverSpec,
    planned: RankSpec | DiscoverSpec,
    inputs: tuple[Spec, Spec],
    again: str,
) -> None:
    """Say what the project has changed since a run was made, and offer to make the planned one.

    `inputs` are the planned completions and index.
    """
    store, changed = cache.store(), []
    for old, new, spec in (
        (made.generate, planned.generate, inputs[0]),
        (made.index, planned.index, inputs[1]),
    ):
        if old != new and store.state(old) != "absent":
            before, after = store.record(old).get("contents") or {}, store.contents(spec)
            changed += [name for name, what in after.items() if before.get(name, what) != what]
    if not changed:
        return
    names = ", ".join(dict.fromkeys(INPUTS.get(name, name) for name in changed))
    st.warning(
        f"The project now has other {names} than when this was made. "
        "What is shown is of what it had then."
    )
    jobs.panel(planned, again)


def _rank(project: Project, behavior: Behavior, generate: Step, index: Step) -> Step:
    """A ranking needs completions that show the behavior, so it waits for the rates."""
    name, what = f"rank {behavior.name}", RANKED
    if cache.store().state(generate.run) != "finished":
        return Step(name, what, None, blocked="after generate")
    if not rose([behavior], cache.table(generate.run, "rates")):
        return Step(name, what, None, blocked="did not rise: nothing to trace")
    return _step(name, what, project.rank(generate.run, index.run, behavior))


def _step(name: str, what: str, spec: Spec) -> Step:
    return Step(name, what, spec, cache.store().run_id(spec))
