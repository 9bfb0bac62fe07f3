"""What do the two models say to the same prompts, and is the difference one direction?"""

import hashlib
from pathlib import Path

import pandas as pd
import streamlit as st

from core.data.completions import SIDES
from core.data.conditions import in_words
from core.data.prompts import read_prompts
from core.intervention.evaluation.results import of_behaviors
from core.specs import project as projects
from core.specs.behaviors import LONGEST_SENTENCE, SHOWS, Contrast
from core.specs.project import NEEDS_JUDGE
from core.workspace import checks
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
from pages.components.setup.models import show_contrast_cost

MODELS = ("reference", "policy")

st.title("What do the two models say?")
st.caption(
    "Both models complete the same prompts several times; a judge flags each completion. "
    "The difference between them, averaged, is the behavior vector that pairs are compared with."
)
project = cache.project()


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
        selection_mode=pickers.ANYWHERE,
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


def show_collected(run: str) -> None:
    """Completions that show a behavior beside others, without rates: nobody judged them."""
    table, facts = cache.table(run, "completions"), cache.summary(run)
    st.caption(
        f"{facts['n_shows']} completions that show it and {facts['n_lacks']} that do not, on "
        f"{facts['n_prompts']} prompts. Its vector is the mean difference between the two, read by "
        "the reference without any sentence. No rate is measured: that takes a judge's flag."
    )
    if did := facts.get("sentence_did"):
        show = st.caption if facts["sentence_works"] else st.warning
        show(text.escape(f"{did}. Only those that fit their side are compared."))
        if not facts["sentence_works"]:
            st.caption("The sentence does not visibly raise the flag's rate on this model.")
    if facts["n_different_prompts"]:
        n = facts["n_different_prompts"]
        st.warning(
            f"The two sides of {n} of them answer different prompts, whose topics are in the "
            "vector, too. Examples of both sides for the same prompts are better."
        )
    prompts = table.drop_duplicates("prompt_id").set_index("prompt_id")["prompt"].map(text.short)
    prompt = st.selectbox(
        "Prompt", list(prompts.index), format_func=prompts.__getitem__, key=f"prompt-{run}"
    )
    rows = table[table["prompt_id"] == prompt]
    names = ("with the sentence", "without it") if facts["sentence_in"] else ("example",) * 2
    shows, lacks = (rows[rows["model"] == model] for model in ("policy", "reference"))
    completions.show_rollouts((names[0], shows), (names[1], lacks), SHOWS)


def offer_contrast() -> None:
    """A form for a behavior without a judge: its name, and examples or a sentence."""
    with st.expander("Add a behavior by examples or in one sentence, without a judge"):
        name = st.text_input("Name of the behavior", key="new-name", max_chars=80)
        how = st.segmented_control(
            "Described by", ["one sentence", "examples"], default="one sentence", required=True,
            key="new-how",
        )  # fmt: skip
        source = ask_sentence() if how == "one sentence" else ask_examples()
        if not (name.strip() and source):
            st.caption("Still missing: a name, and examples or a sentence.")
            return
        with text.refusing():
            contrast = Contrast(name=name.strip(), **source)
            changed = checks.with_contrast(project, contrast)
            show_contrast_cost(changed, contrast)
            if st.button("Add the behavior", type="primary", key="new-add"):
                cache.store().require_writable()
                projects.save(changed, cache.store().workspace)
                st.session_state["added"] = contrast.name
                st.rerun()


def ask_sentence() -> dict[str, str]:
    """A system prompt that asks for the behavior, and which prompts it is tried on."""
    st.caption(
        "The reference completes each prompt twice, with your sentence as its instructions and "
        "without it. It must be a model that follows instructions."
    )
    if not project.prompts:
        st.info("This project names no prompts to complete. Describe the behavior by examples.")
        return {}
    sentence = st.text_area(
        "Sentence that asks for it", key="new-sentence", max_chars=LONGEST_SENTENCE, height=70,
        placeholder="Answer with flattery.",
    )  # fmt: skip
    opposite = st.text_area(
        "Sentence that asks for the opposite (optional)", key="new-opposite", height=70,
        max_chars=LONGEST_SENTENCE, placeholder="Answer without praise.",
        help="The other side is then asked, too, so that having instructions makes no difference.",
    )  # fmt: skip
    flag = st.text_input(
        "Judge's flag that shows it (optional)", key="new-flag", max_chars=80,
        help="Keeps only completions with the flag on one side, and without it on the other.",
    )  # fmt: skip
    groups = sorted(read_prompts(project.prompts)["group"].unique())
    group = st.selectbox("Prompts", ["all", *groups], key="new-group") if len(groups) > 1 else "all"
    chosen = {"sentence": sentence.strip(), "group": "" if group == "all" else group}
    chosen |= {"opposite": opposite.strip(), "flag": flag.strip()}
    return chosen if chosen["sentence"] else {}


def ask_examples() -> dict[str, str]:
    """Prompts with completions that show the behavior and others, typed, pasted or uploaded."""
    st.caption(
        "Per prompt a completion that shows the behavior, and one that does not; either may be "
        "left empty. Take prompts on which the behavior happens: pairs with such prompts are "
        "looked for. Paste rows from a spreadsheet, or upload a .jsonl or .csv file of these "
        "columns. At least four prompts are needed to test the vector; 20 are better."
    )
    columns = ["prompt", *SIDES]
    empty = pd.DataFrame({name: pd.Series(dtype=str) for name in columns})
    table = st.data_editor(empty, num_rows="dynamic", hide_index=True, key="new-examples")
    uploaded = st.file_uploader("Or a file", type=["jsonl", "csv"], key="new-upload")
    if uploaded is None and table.empty:
        return {}
    content = uploaded.getvalue() if uploaded else table.replace("", None).to_json(
        orient="records", lines=True, force_ascii=False
    ).encode()  # fmt: skip
    suffix = Path(uploaded.name).suffix.lower() if uploaded else ".jsonl"
    name = f"examples-{hashlib.sha256(content).hexdigest()[:12]}{suffix}"
    return {"examples": str(keep_examples(name, content))}


@st.cache_resource(show_spinner=False, max_entries=32)
def keep_examples(name: str, _content: bytes) -> Path:
    """The file in the workspace, written once."""
    cache.store().require_writable()
    return checks.keep_upload(name, _content, cache.store().workspace)


if not project.traceable():
    jobs.panel(project.generate(), "Let both models complete the prompts")
    st.info(text.escape(NEEDS_JUDGE[0].upper() + NEEDS_JUDGE[1:]))
    st.page_link("clusters.py", label="Read the clusters of pairs")
    offer_contrast()
    st.stop()
if "added" in st.session_state:  # before its widget is drawn
    st.session_state["behavior"] = st.session_state.pop("added")
behavior = pickers.behavior(project)
contrast = project.contrast_named(behavior.name)
label = "Collect the completions" if contrast else "Let both models complete the prompts"
run = jobs.panel(plan.completions_of(project, behavior), label)
if run is None:
    offer_contrast()
    st.stop()
if contrast:
    show_collected(run)
else:
    table = of_behaviors(cache.table(run, "rates"), project.behaviors)
    behavior_rates = table[table["behavior"] == behavior.name].set_index("model")
    measured = completions.of_behavior(cache.table(run, "completions"), behavior)
    if behavior_rates.empty:
        st.info("The prompts of this project do not measure this behavior.")
        st.stop()
    show_rates()
    glossary.show(*rates.TERMS)
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
    plan.offer_complement(project, behavior)
else:
    plan.warn_if_not_risen(project, behavior)
    rank = pickers.ranking(project, behavior)
    if rank is not None:
        validity.banner(rank)
        validity.show_layers(rank)
st.header("Try a prompt of your own")
completions.show_try(project)
offer_contrast()
