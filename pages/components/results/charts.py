"""Results of retraining, as charts and tables: arms, conditions, sizes, sources, training curves.

Each part names what it needs where that is missing; nothing here decides what differs.
"""

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core.data.conditions import PLAIN, in_words
from core.intervention.edits import predict
from core.intervention.evaluation import edit_sizes
from core.intervention.evaluation.results import by_arm, of_conditions
from core.report import figures
from core.specs.behaviors import Behavior
from core.specs.project import Project
from core.specs.recipes import EditSpec
from core.stats import ORIGINS
from pages.components import arm_table, cache, enrichment, glossary, jobs, rates, text, theme
from pages.components.intervene import dry_run

LEARNING = {
    "loss": "DPO loss (starts at ln 2 ≈ 0.693)",
    "margin": "margin: chosen over rejected",
    "accuracy": "share of pairs ordered right",
}
MACHINE = {
    "learning_rate": "learning rate",
    "tokens_per_second": "tokens per second",
    "memory_bytes": "peak memory, bytes",
}
Trainings = Mapping[str, tuple[str, int]]  # train run → arm, seed


def show_arms(measured: pd.DataFrame, behavior: Behavior) -> None:
    """Before, control and edited on one line each, every retraining a dot."""
    chart = figures.seeds_chart(measured, [behavior.name]).update_layout(height=230)
    rows = measured[measured["behavior"] == behavior.name]
    alt = figures.rates_in_words(rows)
    st.plotly_chart(chart.update_yaxes(showticklabels=False), key="arms", alt=alt)


def show_overlay(tables: Mapping[str, pd.DataFrame], behavior: Behavior) -> None:
    """Several edits on one axis, each its rates of `behavior` by arm."""
    rows = [
        table[table["behavior"] == behavior.name].assign(behavior=name)
        for name, table in tables.items()
    ]
    table = pd.concat(rows)
    alt = figures.rates_in_words(table)
    st.plotly_chart(figures.seeds_chart(table, list(tables)), key="overlay", alt=alt)


def show_conditions(measured: pd.DataFrame, project: Project, behavior: Behavior) -> None:
    """The behavior's flag under each condition, before and after the edit."""
    table = _conditions(measured, behavior)
    if table["condition"].nunique() < 2:
        st.caption("These prompts come under one condition only.")
        return
    names = [name for name in table["condition"].unique() if name != PLAIN]
    words = "; ".join(f"{name}: {in_words(name, project.conditions)}" for name in names)
    st.caption(f"**With and without the trigger**: {text.escape(words)}")
    rows = table[table["arm"].isin(["reference", "policy", "random control", "edited"])]
    means = by_arm(rows.assign(behavior=rows["condition"]))
    chart = figures.rates_chart(means).update_layout(height=330)
    st.plotly_chart(chart, key="conditions", alt=figures.rates_in_words(means))


def show_doses(project: Project, edit: str, behavior: Behavior) -> None:
    """The same edit at several sizes."""
    edits = {run: spec.edits for run, spec in cache.specs(EditSpec).items() if spec.control is None}
    sizes = edit_sizes.siblings(edits, edit)
    measured = arm_table.all_measured(project)
    measured = measured[measured["behavior"] == behavior.name]
    edited = measured[measured["edit"].isin(sizes)]
    edited = edited.assign(k=edited["edit"].map(sizes))
    if edited["k"].nunique() < 2 or not max(sizes.values(), default=0):
        st.info(
            "One size of this edit is measured. Tick “Dose-response” on Intervene to train it "
            "at ¼, ½ and 2 × its size."
        )
        return
    start = "baseline" if "baseline" in set(measured["arm"]) else "policy"
    unedited = measured[measured["arm"] == start].assign(k=0)
    starts = [unedited.assign(arm=arm) for arm in ("random control", "edited")]
    doses = pd.concat([*starts, edited])
    alt = figures.rates_in_words(doses.assign(behavior=doses["k"].map("{:,} pairs".format)))
    st.plotly_chart(figures.dose_chart(doses), key="doses", alt=alt)
    st.caption(
        f"At 0 pairs: the {start}. Lines join the means over seeds; small dots are seeds; bars are "
        "95% intervals over three seeds or more."
    )
    _show_sizes(project, edit, behavior)


def show_training(trainings: Trainings) -> None:
    """Curves of train runs, kept up to date while one of them runs."""
    if not trainings:
        st.info("No training was started for this edit.")
        return
    jobs.follow(list(trainings), lambda: _draw_training(trainings), every=2 * jobs.POLL_SECONDS)


def _show_sizes(project: Project, edit: str, behavior: Behavior) -> None:
    """The size to adopt, chosen on half of the held-out prompts and measured on the other half."""
    table = edit_sizes.measured_sizes(
        cache.store(), project, arm_table.all_measured(project), edit, behavior
    )
    adopted = table[table["adopted"]]
    if adopted.empty:
        st.text("No size is adopted: each makes another behavior worse, or none is measured.")
    for row in adopted.itertuples():
        st.text(
            f"Adopted: {row.k:,} pairs. Chosen on one half of the held-out prompts; on the other "
            f"half the rate is {row.test:.1%}."
        )
    worse = [
        "; ".join(f"{guard.behavior} by {100 * guard.worse:.1f} points" for guard in row)
        for row in table["broken"]
    ]
    choosing, reporting = "half that chooses", "half that reports"
    columns = {
        "pairs": table["k"],
        "seeds": table["seeds"],
        choosing: 100 * table["dev"],
        reporting: 100 * table["test"],
        "made worse": worse,
        "adopted": table["adopted"],
    }
    st.dataframe(
        pd.DataFrame(columns),
        hide_index=True,
        column_config=theme.columns({}, {choosing: "%.1f %%", reporting: "%.1f %%"}),
    )


def show_agreement(project: Project, behavior: Behavior) -> None:
    """Predicted against measured change over every retraining of this workspace."""
    store = cache.store()
    runs = tuple(r for step in ("rank", "discover", "evaluate") for r in store.finished(step))
    table = _against_measured(str(store.workspace), runs, project)
    ranked = table[table["read from"].str.startswith("rank-")] if len(table) else table
    if ranked.empty:
        st.info("Predictions are compared once an arm is measured and its behavior ranked.")
        return
    every = "all ranked behaviors"
    choice = st.segmented_control(
        "Of",
        [behavior.name, every],
        default=behavior.name,
        required=True,
        format_func=text.escape,  # an option is drawn as markdown
        key="agreement-of",
    )
    rows = ranked[ranked["behavior"] == behavior.name]
    rows = ranked if choice == every or rows.empty else rows
    agreement = predict.agreement(rows)
    error = f"{100 * agreement.mean_error:.1f} points" if agreement.n > 1 else "unknown"
    columns = st.columns(4)
    columns[0].metric("Retrainings" + " × behaviors" * (choice == every), agreement.n)
    columns[1].metric("Rank correlation", _number(agreement.rank_correlation))
    columns[2].metric("Slope", _number(agreement.slope), help="1 is calibrated.")
    columns[3].metric("Mean error", error)
    if agreement.n < predict.LEAST_RUNS:
        st.warning(f"{agreement.n} retrainings say little; {predict.LEAST_RUNS} are wanted.")
    st.plotly_chart(
        figures.agreement_chart(rows),
        key="agreement",
        alt="Each retraining's measured change of a rate against the predicted one. The numbers "
        "above say how well they agree.",
    )
    glossary.show("Predicted change", "Rank correlation", "Slope")


def show_sources(project: Project, edit: str, behavior: Behavior) -> None:
    """Pairs that the edit took from each source, and the prediction for dropping the source."""
    attributions = {a.behavior.name: a for a in dry_run.attributions(project)}
    if behavior.name not in attributions or cache.store().state(edit) != "finished":
        st.info("Sources are compared once the behavior is ranked and the edit is made.")
        return
    pairs = cache.pairs(project.pairs)
    column = st.segmented_control(
        "By",
        [name for name in ORIGINS if name in pairs],
        default="source",
        required=True,
        format_func=enrichment.NAMES.get,
        key="source-by",
    )
    by_behavior = by_arm(arm_table.all_measured(project)).query("behavior == @behavior.name")
    rate = by_behavior.set_index("arm")["rate"]
    table = predict.by_source(
        pairs[column].astype(str),
        attributions[behavior.name].values,
        cache.table(edit, "actions"),
        reference=rate.get("reference", float("nan")),
        before=rate.get("baseline", rate.get("policy", float("nan"))),
    )
    percentages = {name: 100 * table[name] for name in ("attribution", "predicted if dropped")}
    st.dataframe(
        table.assign(**percentages),
        hide_index=True,
        column_config={
            "source": enrichment.NAMES[str(column)],
            "edited": "edited here",
            "attribution": st.column_config.NumberColumn("% of attribution", format="%.0f"),
            "predicted if dropped": st.column_config.NumberColumn(
                "predicted rate without the source", format="%.1f %%"
            ),
        },
    )
    st.caption(
        f"The rate is of {text.escape(behavior.name)}. Positive attribution sums to 100; the total "
        "of a source below 0 is against the behavior. To train without a source, use “Drop a "
        "source or generator” on Intervene."
    )


def show_everything(measured: pd.DataFrame, project: Project) -> None:
    """Every behavior of every arm, seeds as dots, then the numbers."""
    names = [behavior.name for behavior in project.behaviors]
    alt = figures.rates_in_words(measured)
    st.plotly_chart(figures.seeds_chart(measured, names), key="outcomes", alt=alt)
    with st.expander("The numbers"):
        rates.show_table(arm_table.numbered(measured), column="model")


def _number(value: float) -> str:
    return "unknown" if pd.isna(value) else f"{value:.2f}"


@st.cache_data(show_spinner=False, max_entries=4, hash_funcs={Project: Project.model_dump_json})
def _against_measured(workspace: str, runs: tuple[str, ...], project: Project) -> pd.DataFrame:
    return predict.against_measured(cache.store(), project, arm_table.all_measured(project))


@st.cache_data(show_spinner=False, max_entries=8, hash_funcs={Behavior: Behavior.model_dump_json})
def _conditions(measured: pd.DataFrame, behavior: Behavior) -> pd.DataFrame:
    return of_conditions(cache.store(), measured, behavior)


def _draw_training(trainings: Trainings) -> None:
    logs = {run: cache.training_log(run) for run in trainings}
    _show_logs(logs, trainings, LEARNING)
    with st.expander("Learning rate, speed and memory"):
        _show_logs(logs, trainings, MACHINE)
    for run, (arm, seed) in trainings.items():
        info = cache.store().info(run)
        if info.state != "finished":
            st.text(f"{arm}, seed {seed}: {jobs.describe(info)}")
            if info.error:
                st.code(info.error, language=None, wrap_lines=True)


def _show_logs(
    logs: Mapping[str, pd.DataFrame], trainings: Trainings, titles: Mapping[str, str]
) -> None:
    """One small chart per column of the log."""
    for place, (column, title) in zip(st.columns(len(titles)), titles.items(), strict=True):
        place.caption(title)
        alt = f"{title}, over optimizer steps, a line for each training."
        place.plotly_chart(_curves(logs, trainings, column), key=f"curve-{column}", alt=alt)


def _curves(logs: Mapping[str, pd.DataFrame], trainings: Trainings, column: str) -> go.Figure:
    figure = go.Figure()
    in_legend: set[str] = set()
    for run, log in logs.items():
        arm, seed = trainings[run]
        if column not in log:
            continue
        figure.add_scatter(
            x=log["step"],
            y=log[column],
            name=arm,
            legendgroup=arm,
            showlegend=arm not in in_legend,
            mode="lines",
            line={"color": theme.MODEL[arm], "dash": theme.DASH[arm]},
            hovertemplate=f"%{{y:.4~g}} at step %{{x}}<extra>{arm}, seed {seed}</extra>",
        )
        in_legend.add(arm)
    figure.update_xaxes(title="optimizer step")
    return figure.update_layout(height=260, **theme.LAYOUT)
