"""What did preference training change, how far is the investigation, and what comes next?"""

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from core.intervention.evaluation.results import moved, of_behaviors
from core.report.findings import pairs_advice
from core.specs.behaviors import Behavior
from core.workspace.measurable import refuses_harm
from pages.components import cache, glossary, jobs, lazy, plan, rates, shortcuts, text, theme
from pages.components.clusters import alarms, state

MARKS = {"worse": ("⚠", "red"), "better": ("✓", "green"), "unchanged": ("=", "gray")}
WIDE, NARROW = (2, 7, 6, 3), (2, 6, 10, 0.1)  # columns of a row
PROPOSED = 8  # changes that are offered as behaviors
WIDTHS = {"step": 246, "what it does": 304, "state": 177, "seconds": 65, "run": 188}  # pixels

st.title("What did preference training change?")
st.caption(
    "Behavior rates of the model before DPO (reference) and after it (policy). "
    "One that got worse is the one to trace to its preference pairs."
)
project = cache.project()
steps = plan.steps(project)
runs = {step.name: step.run for step in steps}


def verdict(behavior: Behavior, before: pd.Series, after: pd.Series) -> tuple[str, str]:
    """Worse, better or unchanged, by whether the two intervals are apart; and why."""
    if after["low"] > before["high"]:
        return ("better", "rose, as wanted") if after["wanted"] else ("worse", "rose, unwanted")
    if after["high"] < before["low"]:
        if refuses_harm(behavior) and not behavior.wanted:
            return "worse", "fell: harmful requests are refused less often"
        return (
            ("worse", "fell, though wanted") if after["wanted"] else ("better", "fell, as wanted")
        )
    return "unchanged", "the intervals overlap"


def show_changes(measured: pd.DataFrame) -> None:
    """The behaviors of the project, and what else changed."""
    if project.behaviors:
        show_behaviors(measured)
    else:
        st.info(
            "This project has no judge, so no completion has a flag and no rate is measured. What "
            "moved is shown by the clusters of pairs alone, below."
        )
    other = moved(measured, project.behaviors)
    if len(other):
        label = f"What else moved, to be added as behaviors ({len(other)})"
        lazy.expander(label, lambda: propose(other), key="others")
    if len(other) or project.behaviors:
        glossary.show(*rates.TERMS)


def show_behaviors(measured: pd.DataFrame) -> None:
    """A row per behavior, what got worse first, with its cause; then the chart and the numbers."""
    table = of_behaviors(measured, project.behaviors)
    rows = []
    for behavior in project.behaviors:
        both = table[table["behavior"] == behavior.name].set_index("model")
        if len(both):
            rows.append((behavior, both.loc["reference"], both.loc["policy"]))
    rows.sort(key=lambda row: list(MARKS).index(verdict(*row)[0]))
    for place, row in enumerate(rows):
        with st.container(key=f"change-{place}"):
            show_change(*row)
    prompts, heldout = (text.escape(Path(f).name) for f in (project.prompts, project.heldout))
    st.caption(
        f"Rates on the prompts of {prompts}, which the attribution uses, too. Intervene and "
        f"Results measure on the held-out prompts of {heldout}, so their rates differ a little."
    )
    lazy.expander("As a chart", lambda: rates.show_chart(table), key="chart")
    lazy.expander("The numbers", lambda: rates.show_table(table), key="numbers")


def show_change(behavior: Behavior, before: pd.Series, after: pd.Series) -> None:
    """One behavior: what became of it, both rates with interval and n, its cause, what to do."""
    kind, why = verdict(behavior, before, after)
    mark, color = MARKS[kind]
    low, high = (f"{after[end]:.1%}" for end in ("low", "high"))
    numbers = (
        f"{why} · {text.escape(f'{behavior.group}, {behavior.condition}')} · 95% "
        f"[{before['low']:.1%}, {before['high']:.1%}] → [{low}, {high}] · "
        + counts(int(before["n"]), int(after["n"]))
    )
    change = f"**{before['rate']:.1%} → {after['rate']:.1%}** {text.escape(behavior.name)}"
    worse = kind == "worse"
    with st.container(border=worse):
        sign, about, cause, link = st.columns(
            WIDE if worse else NARROW, vertical_alignment="center"
        )
        sign.badge(f"{mark} {kind}", color=color)
        about.markdown(change, help=text.escape(behavior.description) or None)
        (about if worse else cause).caption(numbers)
        if worse:
            with cause:
                show_cause(behavior)
            with link:
                show_link(behavior, before, after)


def counts(before: int, after: int) -> str:
    """How many completions of either model were judged."""
    return rates.count(before) + ("\N{NBSP}each" if before == after else f",\N{NBSP}{after:,}")


def show_cause(behavior: Behavior) -> None:
    """Source and cluster of most of the pairs that the behavior's ranking suggests to edit."""
    rank, discover = runs.get(f"rank {behavior.name}", ""), runs["discover"]
    if not rank or cache.store().state(rank) != "finished":
        st.caption("Its pairs are not ranked.")
        return
    k = cache.summary(rank)["suggested_k"]
    if not k:
        st.caption("No pair stands out: its ranking suggests none.")
        return
    uids = cache.table(rank, "ranking")["uid"].head(k)
    pairs = cache.pairs(project.pairs)
    places = pairs.positions(uids)  # −1: of an earlier file
    source, share = most_of(pairs["source"].iloc[places[places >= 0]])
    st.markdown(f"{k:,} pairs, {share:.0%} from **{text.escape(text.short(source, 40))}**")
    if cache.store().state(discover) == "finished":
        cluster, share = most_of(cache.map_points(discover)["cluster"].reindex(uids))
        name = state.names(discover).get(cluster, state.NOISE)
        st.caption(f"{share:.0%} in cluster {text.escape(text.short(name, 70))}")


def most_of(values: pd.Series) -> tuple[Any, float]:
    """The most frequent value, and its share; no value counts for none."""
    shares = values.value_counts() / max(len(values), 1)
    return (shares.index[0], float(shares.iloc[0])) if len(shares) else (None, 0.0)


def show_link(behavior: Behavior, before: pd.Series, after: pd.Series) -> None:
    """The next click: its pairs, or those of its complement."""
    if not behavior.wanted and after["low"] > before["high"]:
        query = {"behavior": behavior.name}
        st.page_link("rank.py", label="What taught it? →", query_params=query)
    plan.offer_complement(project, behavior)


def propose(other: pd.DataFrame) -> None:
    """What changed beside the project's behaviors, each to be added with a direction."""
    st.caption(
        "Flags of the judge whose rates in the two models have disjoint 95% intervals, the largest "
        "change first. What should not rise is traced to its pairs; what should not fall is "
        "watched. Evaluations of held-out prompts run again with what is added."
    )
    behind = clusters_behind()
    for _, row in other.head(PROPOSED).iterrows():
        cell = str(row["flag"]), str(row["group"]), str(row["condition"])
        with st.container(border=True):
            offer_behavior(cell, row, behind.get(cell, []))
    if len(other) > PROPOSED:
        st.caption(f"{len(other) - PROPOSED} smaller changes are not shown.")


def offer_behavior(cell: tuple[str, str, str], row: pd.Series, clusters: list[str]) -> None:
    """One change in words, and two ways to add it."""
    flag, group, condition = cell
    words, left, right = st.columns([3, 1, 1], vertical_alignment="center")
    words.text(text.visible(f"{rates.flag_words(flag)} · {group}, {condition}"))
    words.text(rates.change(row))
    if clusters:
        words.caption("Pairs behind it: " + text.escape("; ".join(clusters)))
    verb = "rise" if row["change"] > 0 else "fall"
    name = " · ".join(cell)
    with text.refusing():
        for column, label, wanted in (
            (left, f"Should not {verb}", verb == "fall"),
            (right, f"Should {verb}", verb == "rise"),
        ):
            if column.button(label, key=f"add-{wanted}-{name}", width="stretch"):
                fields = {"name": name, "flag": flag, "group": group, "condition": condition}
                plan.add_behavior(project, Behavior(**fields, wanted=wanted))


def clusters_behind() -> dict[tuple[str, str, str], list[str]]:
    """Clusters of pairs, where there is a map, by what changed most on the prompts they move."""
    run, behind = runs["discover"], dict[tuple[str, str, str], list[str]]()
    if cache.store().state(run) != "finished" or not cache.has_table(run, "changes"):
        return behind
    for row in alarms.alarm_table(run).itertuples():
        behind.setdefault(row.cell, []).append(f"{row.name} ({row.pairs:,} pairs)")
    return behind


def show_plan() -> None:
    """The investigation as a list of steps, and one button for what comes next."""
    infos = {step.name: cache.store().info(step.run) for step in steps if step.spec}
    rows = [
        {
            "step": step.name,
            "state": infos[step.name].state if step.spec else step.blocked,
            "seconds": f"{infos[step.name].seconds:.1f}" if step.spec else "",
            "what it does": step.what,
            "run": step.run,
        }
        for step in steps
    ]
    seconds = st.column_config.Column(width=WIDTHS["seconds"], alignment="right")
    columns = theme.columns(WIDTHS) | {"seconds": seconds}
    st.dataframe(pd.DataFrame(rows), hide_index=True, height="content", column_config=columns)
    states = {name: info.state for name, info in infos.items()}
    failed = [runs[name] for name, now in states.items() if now == "failed"]
    for name, now in states.items():
        error = infos[name].error
        if any(run in error for run in failed):
            st.text(f"{name}: stopped, since one of its inputs failed")
        elif now in ("running", "failed"):
            with st.container(border=True):
                st.text(name)
                jobs.watch(runs[name])
    startable = [step for step in steps if states.get(step.name) in jobs.STARTABLE]
    if startable:
        show_start(startable)
    elif not set(states.values()) & set(jobs.ACTIVE):
        show_next_page()


def show_start(startable: list[plan.Step]) -> None:
    """Queue what is missing; every run waits for its inputs."""
    st.text(f"Next: {', '.join(step.name for step in startable)}.")
    n = "1 step" if len(startable) == 1 else f"{len(startable)} steps"
    if st.button(f"Start {n}", type="primary", key="start-all", shortcut=shortcuts.START):
        jobs.start(*(step.spec for step in startable))
    jobs.show_commands(*(jobs.command_text(step.spec) for step in startable))


def show_next_page() -> None:
    """All steps up to retraining are done: where to go."""
    st.success("Everything up to retraining is done.")
    left, middle, right = st.columns(3)
    left.page_link("rank.py", label="Read the ranked pairs")
    if "discover" in runs:
        middle.page_link("map.py", label="Look at the map")
    right.page_link("intervene.py", label="Edit and retrain")


if "generate" not in runs:
    st.info(
        "This project names no second model, so no change is measured. Pairs are ranked for the "
        "behaviors that are described by examples or in a sentence."
    )
elif cache.store().state(runs["generate"]) == "finished":
    show_changes(cache.table(runs["generate"], "rates"))
    if cache.store().state(runs["discover"]) == "finished":
        st.header("Worth a look")  # clusters behind a change that nobody wants
        (alarms.show if project.behaviors else alarms.show_moved)(runs["discover"])
else:
    st.info("Nothing is measured yet. The first step lets both models complete the prompts.")
if advice := pairs_advice(cache.store(), project):
    st.header("About the pairs")
    for sentence in advice:
        st.text(sentence)
    st.page_link("data.py", label="Check and read them →")
st.header("The investigation")
show_plan()
st.page_link("tour.py", label="New here? Find the culprit in ten minutes: the guided tour →")
st.page_link("setup.py", label="Change its models, pairs, prompts, judge or behaviors →")
