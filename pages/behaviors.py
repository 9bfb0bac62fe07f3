"""What do the two models say to the same prompts, and is the difference one direction?"""

import pandas as pd
import streamlit as st

from core.intervention.evaluation.results import of_behaviors
from pages.components import cache, jobs, pickers, plan, text
from pages.components import rates as rate_text
from pages.components.rank import validity

st.title("What do the two models say?")
st.caption(
    "Both models complete the same prompts several times; a judge flags each completion. "
    "The difference between them, averaged, is the behavior vector that pairs are compared with."
)
project = cache.project()
run = jobs.panel(project.generate(), "Let both models complete the prompts")
if run is None:
    st.stop()
behavior = pickers.behavior(project)
rates = of_behaviors(cache.table(run, "rates"), project.behaviors)
completions = cache.table(run, "completions")
measured = completions[
    (completions["group"] == behavior.group) & (completions["condition"] == behavior.condition)
]


def by_prompt(rows: pd.DataFrame, flag: str) -> pd.DataFrame:
    """Rate of each model per prompt, unscored completions left out.

    First the prompts that changed most in the direction in which their mean did.
    """
    means = rows.groupby(["prompt_id", "model"])[flag].mean().unstack("model")
    known = rows.drop_duplicates("prompt_id").set_index("prompt_id")
    table = known[["topic", "prompt"]].join(means.astype("Float64") * 100)
    table["unscored"] = rows[flag].isna().groupby(rows["prompt_id"]).sum()
    table["change"] = table["policy"] - table["reference"]
    fell = bool(table["change"].mean() < 0)
    return table.sort_values("change", ascending=fell, na_position="last").reset_index()


def show_rates() -> None:
    """Reference and policy, with interval and n."""
    rows = rates[rates["behavior"] == behavior.name].set_index("model")
    for column, model in zip(st.columns(2), ("reference", "policy"), strict=True):
        row = rows.loc[model]
        with column.container(border=True):
            st.metric(model, f"{row['rate']:.1%}")
            st.caption(
                f"95% interval {rate_text.interval(row['low'], row['high'])} · "
                f"{rate_text.count(row['n'])} · unscored {row['n_unscored']}"
            )


@st.fragment  # who reads on need not wait for the rest of the page
def show_prompts() -> None:
    """The prompts as a table, and what both models said to the one that was chosen."""
    show_completions(choose_prompt(by_prompt(measured, behavior.flag)))


def choose_prompt(table: pd.DataFrame) -> str:
    """The row that was clicked, else the prompt that changed most."""
    shown = table.assign(prompt=table["prompt"].map(text.short))
    event = st.dataframe(
        shown,
        hide_index=True,
        height=300,
        on_select="rerun",
        selection_mode="single-row",
        key=f"prompts-{behavior.name}",
        column_order=["prompt", "topic", "reference", "policy", "change", "unscored"],
        column_config={
            name: st.column_config.NumberColumn(f"{name} %", format="%.0f")
            for name in ("reference", "policy", "change")
        },
    )
    ids = list(table["prompt_id"])
    default = pickers.clicked_row(event, len(ids))
    return st.selectbox(
        "Prompt",
        ids,
        index=default,
        format_func=lambda one: text.short(table.set_index("prompt_id").loc[one, "prompt"]),
        key=f"prompt-{behavior.name}-{default}",
        help="The same choice for the keyboard.",
    )


def show_completions(prompt: str) -> None:
    """Every rollout of one prompt, reference on the left, policy on the right."""
    rows = measured[measured["prompt_id"] == prompt].sort_values("rollout")
    text.box("prompt, as sent", rows["prompt"].iloc[0])
    for _, rollout in rows.groupby("rollout"):
        both = rollout.set_index("model")
        names = [
            f"{m}: {rate_text.verdict(both.loc[m], behavior.flag)}" for m in ("reference", "policy")
        ]
        texts = [both.loc[m, "completion"] for m in ("reference", "policy")]
        text.side_by_side(names[0], texts[0], names[1], texts[1])


if behavior.name not in set(rates["behavior"]):
    st.info("The prompts of this project do not measure this behavior.")
    st.stop()
show_rates()
rate_text.show_terms()
st.header("Prompts and completions")
st.caption("One row per prompt; the rates are over its completions. Choose a row to read them.")
if measured.empty:
    st.info("No prompt of this group was completed under this condition.")
else:
    show_prompts()
st.header("Is the difference one direction?")
st.caption("If it is not, no ranking of pairs for this behavior means anything.")
if behavior.wanted:
    st.info("A wanted behavior is a guard: it is measured, but its pairs are not traced.")
else:
    plan.warn_if_not_risen(project, behavior)
    rank = pickers.ranking(project, behavior)
    if rank is not None:
        validity.banner(rank)
        validity.show_layers(rank)
