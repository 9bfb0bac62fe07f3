"""Did retraining on the edited pairs make the behavior go away, and at what price?"""

import shlex
from functools import partial

import streamlit as st

from core.intervention.evaluation.results import ARMS
from core.report.export_pairs import Format, exported
from core.report.findings import gather
from core.report.html import to_html, to_markdown
from core.specs.behaviors import Behavior
from core.specs.recipes import describe_edit
from core.specs.steps import EditSpec
from pages.components import arm_table, cache, completions, glossary, jobs, lazy, pickers, text
from pages.components.intervene import dry_run
from pages.components.results import charts, spot_check, training_curves

CARDS = 3  # in a row
EXPORTS: tuple[tuple[str, Format, str], ...] = (
    ("Pairs (Parquet)", "parquet", "pairs.parquet"),
    ("Pairs (JSON lines)", "jsonl", "pairs.jsonl"),
    ("Pairs (CSV, formula-safe)", "csv", "pairs.csv"),
    ("Hugging Face dataset (zip)", "datasets", "edited-pairs.zip"),
)

st.title("Did it work?")
st.caption("Behavior rates before DPO, after it, and after retraining on the edited pairs.")
project = cache.project()
pickers.require_behaviors(project)
store = cache.store()
specs = cache.specs(EditSpec)
edits = {run: spec for run, spec in specs.items() if spec.control is None}
arm_table.ensure_measured(project)
if not edits:
    st.info("Nothing was retrained yet. Fill the edit cart, then start the arms on Intervene.")
    st.page_link("intervene.py", label="Edit and retrain")
    st.stop()
behaviors = cache.ranked_behaviors()
controls = (spec for spec in specs.values() if spec.control is not None)
controlled = [spec.model_copy(update={"control": None}) for spec in controls]
chosen = pickers.choose_one(
    "Edit",
    sorted(edits, key=lambda run: edits[run] not in controlled),
    lambda run: text.short("; ".join(describe_edit(e, behaviors) for e in edits[run].edits), 110),
    key="edit",
)
measured = arm_table.of_edit(project, chosen)
trainings = arm_table.trainings(chosen)


def show_behaviors() -> None:
    """Before, control and edited: one rate each per behavior, and edited against the control."""
    charts.show_everything(measured, project)
    for start in range(0, len(project.behaviors), CARDS):
        cards = zip(st.columns(CARDS), project.behaviors[start:], strict=False)
        for column, behavior in cards:
            rows = measured[measured["behavior"] == behavior.name]
            with column.container(border=True, height="stretch"):
                st.text(behavior.name + (" (wanted)" if behavior.wanted else " (unwanted)"))
                for arm in ARMS:
                    if (rows["arm"] == arm).any():
                        st.text(f"{arm}: {arm_table.rate(rows[rows['arm'] == arm])}")
                st.caption(arm_table.against_control(rows))


def show_worse() -> None:
    """Changes in the wrong direction between policy and edited."""
    st.caption("**What got worse**")
    worse = arm_table.worse(measured, project.behaviors)
    if worse.empty:
        st.text("No behavior moved the wrong way beyond the policy's interval.")
    else:
        st.dataframe(worse, hide_index=True)


@st.fragment  # who reads on need not wait for the rest of the page
def show_completions(behavior: Behavior) -> None:
    """The policy's and the edited model's completions of the same held-out prompt."""
    runs = arm_table.completions(measured)
    if len(runs) < 2:
        st.info("Completions appear once two models are measured.")
        return
    left, right = st.columns(2)
    names = list(runs)
    before = left.selectbox("Left", names, index=names.index("policy") if "policy" in runs else 0)
    after = right.selectbox("Right", names, index=len(names) - 1)
    completions.compare((before, runs[before]), (after, runs[after]), behavior, key="shown-prompt")


def show_export() -> None:
    """The whole investigation as one file, and the edited pairs to train on elsewhere."""
    st.subheader("Report")
    st.caption("One file with the figures, numbers, recipes, commands and versions; opens offline.")
    html, markdown, _, _ = st.columns(4)
    html.download_button(
        "Report (HTML)", lambda: to_html(gather(store)), "report.html", "text/html",
        type="primary", width="stretch", on_click="ignore",
    )  # fmt: skip
    markdown.download_button(
        "Report (Markdown)", lambda: to_markdown(gather(store)), "report.md", "text/markdown",
        width="stretch", on_click="ignore",
    )  # fmt: skip
    st.subheader("The edited pairs")
    if store.state(chosen) != "finished":
        st.info(f"The edit is {store.state(chosen)}.")
        return
    summary = cache.summary(chosen)
    st.text(
        f"{summary['n_pairs']:,} pairs: {summary['n_removed']:,} removed, "
        f"{summary['n_flipped']:,} flipped."
    )
    for column, (label, form, name) in zip(st.columns(len(EXPORTS)), EXPORTS, strict=True):
        column.download_button(
            label, partial(exported, store, chosen, form=form), name, width="stretch",
            on_click="ignore",
        )  # fmt: skip
    st.download_button(
        "Recipe (JSON)", partial(edits[chosen].model_dump_json, indent=2), "recipe.json",
        "application/json", on_click="ignore",
    )  # fmt: skip
    words = ["pairtrace", "--workspace", str(store.workspace)]
    report = [*words, "report", "--out", "report.html"]
    export = [*words, "export", chosen, "--out", "edited-pairs", "--format", "datasets"]
    lines = f"{shlex.join(report)}\n{shlex.join(export)}"
    jobs.show_commands(lines, jobs.command_text(edits[chosen]))


def traced() -> list[Behavior]:
    """What the edit is about: the behaviors whose rankings it reads, or the one it touches most."""
    names = arm_table.traced(edits[chosen])
    if not names and store.state(chosen) == "finished":
        touched = dry_run.most_touched(project, chosen)
        names = [touched] if touched else []
    return [project.behavior(name) for name in names]


def show_answer(traced: list[Behavior]) -> Behavior:
    """The answer in a sentence and two charts; returns the behavior that it is about."""
    for behavior in traced:
        st.info(text.escape(arm_table.headline(measured, behavior.name)))
    options = [*traced, *(behavior for behavior in project.behaviors if behavior not in traced)]
    name = st.selectbox(
        "Behavior",
        [behavior.name for behavior in options],
        key="answer-behavior",
        help="What the charts and tabs below are about; those the edit aims at come first.",
    )
    behavior = project.behavior(name)
    left, right = st.columns(2)
    with left:
        charts.show_bars(measured, behavior)
    with right:
        charts.show_conditions(measured, project, behavior)
    show_worse()
    return behavior


glossary.show("Arm", "Seed", "Interval", "Held-out prompts")
if measured["arm"].isin(["edited", "random control"]).any():
    behavior = show_answer(traced())
    parts = {
        "Every behavior": show_behaviors,
        "Dose": lambda: charts.show_doses(project, chosen, behavior),
        "Predicted and measured": lambda: charts.show_agreement(project, behavior),
        "Completions": lambda: show_completions(behavior),
        "Spot-check": lambda: spot_check.show(measured, behavior),
        "Sources": lambda: charts.show_sources(project, chosen, behavior),
        "Training": lambda: training_curves.show(trainings),
        "Report and export": show_export,
    }
    lazy.tabs(parts, key="part", bind="query-params")
else:
    st.info("The arms are not measured yet. Their training is shown below while it runs.")
    st.header("Training")
    training_curves.show(trainings)
    show_export()
st.page_link("methods.py", label="How the ways of ranking compare")
