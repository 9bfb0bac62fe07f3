"""What did preference training change, how far is the investigation, and what comes next?"""

import pandas as pd
import streamlit as st

from core.intervention.evaluation.results import of_behaviors
from core.runs import jobs
from core.specs.behaviors import Behavior
from pages.components import cache, lazy, shortcuts, text
from pages.components import jobs as job_panels
from pages.components import plan as next_steps
from pages.components import rates as rate_text
from pages.components.clusters import alarms

CARDS = 3  # in a row

st.title("What did preference training change?")
st.caption(
    "Behavior rates of the model before DPO (reference) and after it (policy). "
    "A behavior that rose and nobody wanted is the one to trace to its preference pairs."
)
st.page_link("tour.py", label="New here? Find the culprit in ten minutes: the guided tour →")
project = cache.project()
plan = next_steps.steps(project)


def verdict(rates: pd.DataFrame, behavior: str) -> str:
    """Rose, fell or unclear, by whether the two intervals are apart."""
    rows = rates[rates["behavior"] == behavior].set_index("model")
    before, after = rows.loc["reference"], rows.loc["policy"]
    if after["low"] > before["high"]:
        return "rose, as wanted" if after["wanted"] else "⚠ rose, unwanted"
    if after["high"] < before["low"]:
        return "⚠ fell, though wanted" if after["wanted"] else "fell, as wanted"
    return "no clear change: the intervals overlap"


def show_changes(measured: pd.DataFrame) -> None:
    """The headline per behavior, what needs attention first; the chart; the numbers."""
    rates = of_behaviors(measured, project.behaviors)
    known = [one for one in project.behaviors if one.name in set(rates["behavior"])]
    behaviors = sorted(known, key=lambda one: "⚠" not in verdict(rates, one.name))
    for start in range(0, len(behaviors), CARDS):
        for column, behavior in zip(st.columns(CARDS), behaviors[start:], strict=False):
            with column.container(border=True, height="stretch"):
                show_change(rates, behavior)
    st.plotly_chart(rate_text.chart(rates), key="changes")
    lazy.expander("The numbers", lambda: rate_text.show_table(rates), key="numbers")
    other = rate_text.other_changes(measured, project.behaviors)
    lazy.expander(
        f"Other changes, which no behavior of the project names ({len(other)})",
        lambda: show_others(other),
        key="others",
    )
    rate_text.show_terms()


def show_others(other: pd.DataFrame) -> None:
    """What changed beside the project's behaviors."""
    st.caption("Flags that the judge reads whose intervals are apart, the largest first.")
    points = st.column_config.NumberColumn(format="%+.1f")
    st.dataframe(other, hide_index=True, column_config={"change, points": points})


def show_alarms() -> None:
    """Clusters behind a change that nobody wants, once there is a map."""
    mapped = next(step for step in plan if step.name == "discover")
    if cache.store().state(mapped.run) == "finished":
        st.header("Worth a look")
        alarms.show(mapped.run)


def show_change(rates: pd.DataFrame, behavior: Behavior) -> None:
    """One behavior: both rates with interval and n, and what became of it."""
    rows = rates[rates["behavior"] == behavior.name].set_index("model")
    before, after = rows.loc["reference"], rows.loc["policy"]
    st.text(text.visible(behavior.name), help=text.escape(behavior.description) or None)
    change = f"{before['rate']:.1%} → {after['rate']:.1%}"
    st.subheader(change, anchor=False)  # a metric's value would be cut off on a small screen
    st.text(verdict(rates, behavior.name))
    st.caption(
        f"95% [{before['low']:.1%}, {before['high']:.1%}] → "
        f"[{after['low']:.1%}, {after['high']:.1%}] · "
        + both_counts(int(before["n"]), int(after["n"]))
    )
    if not behavior.wanted and after["low"] > before["high"]:
        query = {"behavior": behavior.name}
        st.page_link("rank.py", label="What taught it? →", query_params=query)


def both_counts(before: int, after: int) -> str:
    """How many completions each model's rate is of, said once where they are as many."""
    more = "\N{NBSP}each" if before == after else f",\N{NBSP}{after:,}"
    return rate_text.count(before) + more


def show_plan() -> None:
    """The investigation as a list of steps, and one button for what comes next."""
    store = cache.store()
    infos = {step.name: store.info(step.run) for step in plan if step.spec}
    rows = [
        {
            "step": step.name,
            "state": infos[step.name].state if step.spec else step.blocked,
            "seconds": f"{infos[step.name].seconds:.1f}" if step.spec else "",
            "what it does": step.what,
            "run": step.run,
        }
        for step in plan
    ]
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        height="content",
        column_config={
            "step": st.column_config.Column(width=246),
            "what it does": st.column_config.Column(width=304),
            "state": st.column_config.Column(width=177),
            "seconds": st.column_config.Column(width=65, alignment="right"),
            "run": st.column_config.Column(width=188),
        },
    )
    startable = [
        step
        for step in plan
        if step.spec and infos[step.name].state in ("absent", "failed", "cancelled")
    ]
    active = [step for step in plan if step.spec and infos[step.name].state in job_panels.ACTIVE]
    for step in plan:
        if step.spec and infos[step.name].state in ("running", "failed"):
            with st.container(border=True):
                st.text(step.name)
                job_panels.watch(step.run)
    if startable:
        show_start(startable)
    elif not active:
        show_next_page()


def show_start(startable: list[next_steps.Step]) -> None:
    """Queue what is missing; every run waits for its inputs."""
    names = ", ".join(step.name for step in startable)
    st.text(f"Next: {names}.")
    steps = "1 step" if len(startable) == 1 else f"{len(startable)} steps"
    if st.button(f"Start {steps}", type="primary", key="start-all", shortcut=shortcuts.START):
        for step in startable:
            jobs.start(cache.store(), step.spec)
        st.rerun()
    with st.expander("The same from the command line"):
        for step in startable:
            st.code(job_panels.command_text(step.spec), language="bash", wrap_lines=True)


def show_next_page() -> None:
    """All steps up to retraining are done: where to go."""
    st.success("Everything up to retraining is done.")
    left, middle, right = st.columns(3)
    left.page_link("rank.py", label="Read the ranked pairs")
    middle.page_link("map.py", label="Look at the map")
    right.page_link("intervene.py", label="Edit and retrain")


generated = next(step.run for step in plan if step.name == "generate")
if cache.store().state(generated) == "finished":
    show_changes(cache.table(generated, "rates"))
    show_alarms()
else:
    st.info("Nothing is measured yet. The first step lets both models complete the prompts.")
st.header("The investigation")
show_plan()
