"""Did retraining on the edited pairs make the behavior go away, and at what price?"""

import shlex
from functools import partial

import pandas as pd
import streamlit as st

from core.intervention.arms import further_seeds, next_seeds
from core.intervention.edits.checks import in_words, n_touched
from core.intervention.evaluation.verdict import Verdict, flipped
from core.report.export import Format, exported
from core.report.findings import Story, gather
from core.report.html import to_html, to_markdown
from core.specs.behaviors import Behavior
from core.specs.recipe_text import describe_edit
from core.specs.recipes import EditSpec
from core.specs.steps import TrainSpec
from pages.components import (
    access,
    arm_table,
    cache,
    completions,
    glossary,
    jobs,
    lazy,
    pickers,
    text,
    theme,
)
from pages.components.intervene import arms, dry_run
from pages.components.results import charts, spot_check

BOXES = {  # of a verdict: the color, and a mark that says the same
    "worked": (st.success, ":material/check_circle:"),
    "did not work": (st.error, ":material/cancel:"),
    "not yet proven": (st.info, ":material/pending:"),
}
EDIT_WIDTHS = {"edit": 230, "pairs": 50, "beyond control": 100, "got worse": 120}  # pixels
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


def describe(run: str) -> str:
    """An edit in words."""
    return text.short("; ".join(describe_edit(e, behaviors) for e in edits[run].edits), 90)


edit_column, behavior_column = st.columns([5, 3])
with edit_column:
    chosen = pickers.choose_one(
        "Edit",
        sorted(edits, key=lambda run: edits[run] not in controlled),
        describe,
        key="edit",
    )
measured = arm_table.of_edit(project, chosen)
trainings = arm_table.trainings(chosen)


def traced() -> list[Behavior]:
    """What the edit is about: the behaviors whose rankings it reads, or the one it touches most."""
    names = arm_table.traced(edits[chosen])
    if not names and store.state(chosen) == "finished":
        touched = dry_run.most_touched(project, chosen)
        names = [touched] if touched else []
    return [behavior for behavior in project.behaviors if behavior.name in names]


def choose_behavior() -> Behavior:
    """What verdict, chart and tabs are about; behaviors that the edit aims at come first."""
    aims = traced()
    options = [*aims, *(behavior for behavior in project.behaviors if behavior not in aims)]
    name = behavior_column.selectbox(
        "Behavior",
        [behavior.name for behavior in options],
        key="answer-behavior",
        help="What the page is about; those the edit aims at come first.",
    )
    return project.behavior(name)


def show_answer(behavior: Behavior) -> None:
    """The verdict, one chart, and one completion that changed."""
    verdict = arm_table.verdict(measured, behavior)
    if verdict:
        show_verdict(verdict)
    left, right = st.columns(2)
    with left:
        prompts = f"{text.escape(behavior.group)}, {behavior.condition}"
        st.caption(f"**Share of completions that show it**, held-out prompts: {prompts}")
        charts.show_arms(measured, behavior)
        if verdict and verdict.state == "not yet proven":
            show_proof(verdict)
    with right:
        show_example(behavior)


def show_verdict(verdict: Verdict) -> None:
    """One sentence in a color, and the evidence; at a price, where something got worse."""
    draw, icon = BOXES[verdict.state]
    if verdict.state == "worked" and verdict.worse:
        draw, icon = st.warning, ":material/check_circle:"
    rest = verdict.headline().removeprefix(verdict.claim())
    draw(
        f"#### {text.escape(verdict.claim())}\n{text.escape(f'{verdict.evidence()} {rest}')}",
        icon=icon,
    )


def show_proof(verdict: Verdict) -> None:
    """One button that trains and measures as many more seeds as a verdict needs."""
    rows = measured[measured["train"].ne("") & measured["edit"].eq(chosen)]
    trained = rows.drop_duplicates("arm").set_index("arm")["train"].to_dict()
    if "edited" not in trained:
        return
    begun = {seed for arm, seed in trainings.values() if arm != "baseline"}
    seeds = next_seeds(verdict.seeds, begun)
    plan = further_seeds(project, store, chosen, trained, seeds)
    states = {
        store.run_id(spec): store.state(store.run_id(spec)) for arm in plan for spec in arm.specs()
    }
    if set(states.values()) & set(jobs.ACTIVE):
        arms.watch(plan)
        return
    n = f"{len(seeds)} more seed" + "s" * (len(seeds) > 1)
    missing = [s for arm in plan for s in arm.specs() if states[store.run_id(s)] in jobs.STARTABLE]
    if st.button(
        f"Prove it: {n}, about {arms.time(plan)}",
        type="primary",
        key="prove",
        help="Trains and measures edited and control again with other seeds, all else as before. "
        "The time is what such runs took here.",
    ):
        jobs.start(*missing)
    if store.spec(trained["edited"], TrainSpec).checkpoint:
        st.caption(
            "The arms at hand were trained elsewhere and imported. More seeds are trained here, "
            "with the settings of this project."
        )


def show_example(behavior: Behavior) -> None:
    """The same held-out prompt before and after, answered differently."""
    example = flipped(store, measured, behavior)
    if example is None:
        st.caption("No held-out prompt has a completion of each kind, before and after the edit.")
        return
    st.caption("**One completion that changed**: the policy's, and the edited model's")
    text.box("held-out prompt", example["prompt"])
    text.side_by_side("before", example["before"], "after", example["after"])


def show_edits(behavior: Behavior) -> None:
    """All edits with their verdicts, and any of them on one axis."""
    tables = {run: arm_table.of_edit(project, run) for run in edits}
    names = {run: f"{place} · {describe(run)}" for place, run in enumerate(edits, start=1)}
    rows = [edit_row(run, tables[run], names[run], behavior) for run in edits]
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=theme.columns(EDIT_WIDTHS))
    ready = [run for run in edits if (tables[run]["arm"] == "edited").any()]
    overlaid = st.multiselect(
        "On one axis", ready, ready[:2], format_func=lambda run: text.visible(names[run]),
        key="overlaid",
    )  # fmt: skip
    if overlaid:
        charts.show_overlay({names[run]: tables[run] for run in overlaid}, behavior)


def edit_row(run: str, table: pd.DataFrame, name: str, behavior: Behavior) -> dict[str, object]:
    """One edit: its size, verdict, benefit beyond the control, harm, seeds and time."""
    verdict = arm_table.verdict(table, behavior)
    done = store.state(run) == "finished"
    summary = cache.summary(run) if done else {}
    arms_of = arm_table.trainings(run).items()
    times = [store.info(training).seconds for training, (arm, _) in arms_of if arm != "baseline"]
    row: dict[str, object] = {
        "edit": name,
        "pairs": n_touched(summary) if done else None,
        "verdict": verdict.state if verdict else "not measured",
    }
    if verdict:
        row |= {
            "policy": f"{verdict.before:.1%}",
            "edited": f"{verdict.after:.1%}",
            "control": f"{verdict.control:.1%}" if verdict.seeds else "",
            "beyond control": round(100 * verdict.over_prompts.value, 1),
            "95%": verdict.bounds(),
            "got worse": ", ".join(worse.behavior for worse in verdict.worse),
            "seeds": len(verdict.seeds),
        }
    return row | {"training": arms.in_words(sum(times)) if times else ""}


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


def story() -> Story:
    """The content of a report about the chosen edit."""
    finished = store.state(chosen) == "finished"
    return gather(store, edit=chosen if finished else "", author=access.who())


def show_export() -> None:
    """The whole investigation as one file, and the edited pairs to train on elsewhere."""
    st.subheader("Report")
    st.caption(
        "One file that opens offline, prints, and is slides as well (key S, then the arrows): what "
        "changed, which pairs, where they lie, what was done, what it proves and what not."
    )
    html, markdown, _, _ = st.columns(4)
    html.download_button(
        "Report and slides (HTML)", lambda: to_html(story()), "report.html", "text/html",
        type="primary", width="stretch", on_click="ignore",
    )  # fmt: skip
    markdown.download_button(
        "Report (Markdown)", lambda: to_markdown(story()), "report.md", "text/markdown",
        width="stretch", on_click="ignore",
    )  # fmt: skip
    st.subheader("The edited pairs")
    if store.state(chosen) != "finished":
        st.info(f"The edit is {store.state(chosen)}.")
        return
    summary = cache.summary(chosen)
    st.text(f"{summary['n_pairs']:,} pairs: {in_words(summary)}.")
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


glossary.show("Verdict", "Arm", "Seed", "Interval", "Held-out prompts")
if measured["arm"].isin(["edited", "random control"]).any():
    behavior = choose_behavior()
    show_answer(behavior)
    parts = {
        "All edits": lambda: show_edits(behavior),
        "Every behavior": lambda: charts.show_everything(measured, project),
        "With and without the trigger": lambda: charts.show_conditions(measured, project, behavior),
        "Dose": lambda: charts.show_doses(project, chosen, behavior),
        "Predicted and measured": lambda: charts.show_agreement(project, behavior),
        "Completions": lambda: show_completions(behavior),
        "Try it": lambda: completions.show_try(project),
        "Spot-check": lambda: spot_check.show(measured, behavior),
        "Sources": lambda: charts.show_sources(project, chosen, behavior),
        "Training": lambda: charts.show_training(trainings),
        "Report and export": show_export,
    }
    lazy.tabs(parts, key="part", bind="query-params")
else:
    st.info("The arms are not measured yet. Their training is shown below while it runs.")
    st.header("Training")
    charts.show_training(trainings)
    show_export()
st.page_link("methods.py", label="How the ways of ranking compare")
