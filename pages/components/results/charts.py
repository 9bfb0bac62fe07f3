"""What retraining showed, in charts: arms, conditions, sizes, predictions, sources.

Each part says what it needs where that is missing; nothing here decides what is apart or not.
"""

import pandas as pd
import streamlit as st

from core.attribution.enrichment import COLUMNS
from core.intervention.edits import predict
from core.intervention.evaluation import edit_sizes
from core.intervention.evaluation.results import by_arm, of_conditions
from core.report import figures
from core.specs.behaviors import Behavior
from core.specs.project import Project
from core.specs.steps import EditSpec
from pages.components import arm_table, cache, enrichment, text
from pages.components import rates as rate_text
from pages.components.intervene import dry_run

AGREEMENT_TERMS = """
Each dot is one retraining. **Rank correlation** (Spearman): do edits that were predicted to do more
do more? **Slope** of measured on predicted: 1 is calibrated, below 1 the predictions promise too
much. Predictions are made before training, from attribution alone, and never fitted to what was
measured. What they cannot know is how much one retraining differs from the next.
"""


def show_bars(measured: pd.DataFrame, behavior: Behavior) -> None:
    """Original, control and edited as bars, with their retrainings as dots."""
    st.caption(f"**Before and after**: share of completions that show {text.escape(behavior.name)}")
    chart = figures.bars_chart(by_arm(measured), measured, behavior.name)
    st.plotly_chart(chart, key="bars")


def show_conditions(measured: pd.DataFrame, behavior: Behavior) -> None:
    """The behavior's flag with and without the distractor, in every model."""
    table = _conditions(measured, behavior)
    if table["condition"].nunique() < 2:
        st.caption("These prompts come under one condition only.")
        return
    st.caption("**With and without the trigger**: *distractor* is the prompt with one after it")
    arms = [arm for arm in ("reference", "policy", "edited") if arm in set(table["arm"])]
    kept = table[table["arm"].isin(arms)]
    summary = by_arm(kept.assign(behavior=kept["condition"]))
    chart = figures.rates_chart(summary)
    st.plotly_chart(chart.update_layout(height=330), key="conditions")


def show_doses(project: Project, edit: str, behavior: Behavior) -> None:
    """The same edit at several sizes."""
    runs = {run: spec for run, spec in cache.specs(EditSpec).items() if spec.control is None}
    sizes = edit_sizes.siblings({run: spec.edits for run, spec in runs.items()}, edit)
    measured = arm_table.all_measured(project)
    own = measured[measured["edit"].isin(sizes) & measured["behavior"].eq(behavior.name)]
    own = own.assign(k=own["edit"].map(sizes))
    if own["k"].nunique() < 2 or not max(sizes.values(), default=0):
        st.info(
            "One size of this edit is measured. Tick “Dose-response” on Intervene to train it "
            "at ¼, ½ and 2 × its size."
        )
        return
    start = measured[measured["arm"].isin(["baseline", "policy"])]
    start = start[start["behavior"].eq(behavior.name)]
    first = "baseline" if "baseline" in set(start["arm"]) else "policy"
    none = start[start["arm"].eq(first)].assign(k=0)
    both = pd.concat([*(none.assign(arm=arm) for arm in ("random control", "edited")), own])
    st.plotly_chart(figures.dose_chart(both), key="doses")
    st.caption(
        f"At 0 pairs: the {first}. Lines join the means over seeds; small dots are seeds; bars are "
        "95% intervals over three seeds or more."
    )
    _show_adoption(project, edit, behavior)


def _show_adoption(project: Project, edit: str, behavior: Behavior) -> None:
    """Which size to adopt, chosen on half of the held-out prompts and told on the other half."""
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
    percent = {name: 100 * table[name] for name in ("dev", "test")}
    worse = [
        "; ".join(f"{g.behavior} by {100 * g.worse:.1f} points" for g in row)
        for row in table["broken"]
    ]
    st.dataframe(
        table[["k", "seeds"]].assign(**percent, worse=worse, adopted=table["adopted"]),
        hide_index=True,
        column_config={
            "k": "pairs",
            "dev": st.column_config.NumberColumn("half that chooses", format="%.1f %%"),
            "test": st.column_config.NumberColumn("half that reports", format="%.1f %%"),
            "worse": "made worse",
        },
    )


def show_agreement(project: Project, behavior: Behavior) -> None:
    """Predicted against measured change over every retraining of this workspace."""
    table = _against_measured(str(cache.store().workspace), _finished(), project)
    ranked = table[table["read from"].str.startswith("rank-")] if len(table) else table
    if ranked.empty:
        st.info("Predictions are compared once an arm is measured and its behavior ranked.")
        return
    own = ranked[ranked["behavior"] == behavior.name]
    every = "all ranked behaviors"
    which = st.segmented_control(
        "Of",
        [behavior.name, every],
        default=behavior.name,
        required=True,
        format_func=text.escape,  # an option is drawn as markdown
        key="agreement-of",
    )
    shown = ranked if which == every or own.empty else own
    found = predict.agreement(shown)
    facts = st.columns(4)
    facts[0].metric("Retrainings" if which != every else "Retrainings × behaviors", found.n)
    facts[1].metric("Rank correlation", _number(found.rank_correlation))
    facts[2].metric("Slope", _number(found.slope), help="1 is calibrated.")
    facts[3].metric("Mean error", f"{100 * found.mean_error:.1f} points"
                    if found.n > 1 else "unknown")  # fmt: skip
    if found.n < predict.LEAST_RUNS:
        st.warning(f"{found.n} retrainings say little; {predict.LEAST_RUNS} are wanted.")
    st.plotly_chart(figures.agreement_chart(shown), key="agreement")
    with st.expander("What these words mean"):
        st.markdown(AGREEMENT_TERMS)


def show_sources(project: Project, edit: str, behavior: Behavior) -> None:
    """What the edit took from each source, and what dropping the whole source should do."""
    known = {one.behavior.name: one for one in dry_run.attributions(project)}
    if behavior.name not in known or cache.store().state(edit) != "finished":
        st.info("Sources are compared once the behavior is ranked and the edit is made.")
        return
    pairs = cache.pairs(project.pairs)
    columns = [name for name in COLUMNS if name in pairs]
    column = st.segmented_control(
        "By",
        columns,
        default="source",
        required=True,
        format_func=enrichment.NAMES.get,
        key="source-by",
    )
    rates = by_arm(arm_table.all_measured(project)).query("behavior == @behavior.name")
    rate = rates.set_index("arm")["rate"]
    table = predict.by_source(
        pairs[column].astype(str),
        known[behavior.name].values,
        cache.table(edit, "actions"),
        reference=rate.get("reference", float("nan")),
        before=rate.get("baseline", rate.get("policy", float("nan"))),
    )
    share, dropped = 100 * table["attribution"], 100 * table["predicted if dropped"]
    st.dataframe(
        table.assign(**{"attribution": share, "predicted if dropped": dropped}),
        hide_index=True,
        column_config={
            "source": enrichment.NAMES[str(column)],
            "edited": st.column_config.NumberColumn("edited here"),
            "attribution": st.column_config.NumberColumn("% of attribution", format="%.0f"),
            "predicted if dropped": st.column_config.NumberColumn(
                "predicted rate without the source", format="%.1f %%"
            ),
        },
    )
    st.caption(
        f"The rate is of {text.escape(behavior.name)}. Attribution counts what pushes towards it "
        "as 100; a source below 0 pushes away from it, all in all. To train without a source, use "
        "“Drop a source or generator” on Intervene."
    )


def show_everything(measured: pd.DataFrame, project: Project) -> None:
    """Every behavior of every arm, seeds as dots, then the numbers."""
    names = [behavior.name for behavior in project.behaviors]
    st.plotly_chart(figures.seeds_chart(measured, names), key="outcomes")
    with st.expander("The numbers"):
        rate_text.show_table(arm_table.numbered(measured), column="model")


def _number(value: float) -> str:
    return "unknown" if pd.isna(value) else f"{value:.2f}"


def _finished() -> tuple[str, ...]:
    store = cache.store()
    return tuple(run for step in ("rank", "discover", "evaluate") for run in store.finished(step))


@st.cache_data(show_spinner=False, max_entries=4, hash_funcs={Project: Project.model_dump_json})
def _against_measured(workspace: str, finished: tuple[str, ...], project: Project) -> pd.DataFrame:
    return predict.against_measured(cache.store(), project, arm_table.all_measured(project))


@st.cache_data(show_spinner=False, max_entries=8, hash_funcs={Behavior: Behavior.model_dump_json})
def _conditions(measured: pd.DataFrame, behavior: Behavior) -> pd.DataFrame:
    return of_conditions(cache.store(), measured, behavior)
