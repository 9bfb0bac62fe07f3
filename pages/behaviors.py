"""What do the two models say to the same prompts, and is the difference one direction?"""

import pandas as pd
import streamlit as st

from core.data.conditions import in_words
from core.intervention.evaluation.results import of_behaviors
from pages.components import (
    cache,
    completions,
    glossary,
    jobs,
    pickers,
    plan,
    rates,
    text,
    validity,
)

MODELS = ("reference", "policy")

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
table = of_behaviors(cache.table(run, "rates"), project.behaviors)
behavior_rates = table[table["behavior"] == behavior.name].set_index("model")
measured = completions.of_behavior(cache.table(run, "completions"), behavior)


def show_rates() -> None:
    """Reference and policy, with interval and n."""
    for column, model in zip(st.columns(2), MODELS, strict=True):
        row = behavior_rates.loc[model]
        with column.container(border=True):
            st.metric(model, f"{row['rate']:.1%}")
            st.caption(
                f"95% interval {rates.interval(row['low'], row['high'])} · "
                f"{rates.count(row['n'])} · unscored {row['n_unscored']}"
            )


def sent_in_words(rows: pd.DataFrame) -> str:
    """Each condition, what it does to a prompt, and how many prompts were sent under it."""
    counts = rows.groupby("condition", sort=False)["prompt_id"].nunique()
    described = ((name, in_words(str(name), project.conditions)) for name in counts.index)
    parts = [f"{name} ({words}): {counts[name]} prompts" for name, words in described]
    return f"Sent under each condition. {'; '.join(parts)}."


@st.fragment  # who reads on need not wait for the rest of the page
def show_prompts() -> None:
    """The prompts as a table, and both models' completions of the chosen one."""
    prompt = choose_prompt(by_prompt(measured, behavior.flag))
    rows = measured[measured["prompt_id"] == prompt]
    first, second = ((model, rows[rows["model"] == model]) for model in MODELS)
    completions.show_rollouts(first, second, behavior.flag)


def by_prompt(rows: pd.DataFrame, flag: str) -> pd.DataFrame:
    """Rate of each model per prompt, unscored completions left out.

    First the prompts that changed most in the direction in which their mean did.
    """
    means = rows.groupby(["prompt_id", "model"])[flag].mean().unstack("model")
    prompts = rows.drop_duplicates("prompt_id").set_index("prompt_id")
    table = prompts[["topic", "prompt"]].join(means.astype("Float64") * 100)
    table["unscored"] = rows[flag].isna().groupby(rows["prompt_id"]).sum()
    table["change"] = table["policy"] - table["reference"]
    fell = bool(table["change"].mean() < 0)
    return table.sort_values("change", ascending=fell, na_position="last").reset_index()


def choose_prompt(table: pd.DataFrame) -> str:
    """The row that was clicked, else the prompt that changed most."""
    prompts = table.set_index("prompt_id")["prompt"].map(text.short)
    event = st.dataframe(
        table.assign(prompt=prompts.to_numpy()),
        hide_index=True,
        height=300,
        on_select="rerun",
        selection_mode="single-row",
        key=f"prompts-{behavior.name}",
        column_order=["prompt", "topic", *MODELS, "change", "unscored"],
        column_config={
            name: st.column_config.NumberColumn(f"{name} %", format="%.0f")
            for name in (*MODELS, "change")
        },
    )
    default = pickers.clicked_row(event, len(table))
    return st.selectbox(
        "Prompt",
        list(prompts.index),
        index=default,
        format_func=prompts.__getitem__,
        key=f"prompt-{behavior.name}-{default}",
        help="The same choice for the keyboard.",
    )


if behavior_rates.empty:
    st.info("The prompts of this project do not measure this behavior.")
    st.stop()
show_rates()
glossary.show(*rates.TERMS)
st.header("Prompts and completions")
st.caption(text.escape(sent_in_words(cache.table(run, "completions"))))
st.caption("One row per prompt; the rates are over its completions. Choose a row to read them.")
if measured.empty:
    st.info("No prompt of this group was completed under this condition.")
else:
    show_prompts()
st.header("Is the difference one direction?")
st.caption("If it is not, no ranking of pairs for this behavior means anything.")
if behavior.wanted:
    st.info("A wanted behavior is a guard: it is measured, but its pairs are not traced.")
    plan.offer_complement(project, behavior)
else:
    plan.warn_if_not_risen(project, behavior)
    rank = pickers.ranking(project, behavior)
    if rank is not None:
        validity.banner(rank)
        validity.show_layers(rank)
