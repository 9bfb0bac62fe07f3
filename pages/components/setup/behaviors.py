"""What a project sends of its prompts, and what it measures: flags and directions, or examples."""

from pathlib import Path

import pandas as pd
import streamlit as st

from core.data.conditions import CONDITIONS, PLAIN, Condition, as_row, from_rows
from core.specs.behaviors import LONGEST_SENTENCE, Behavior, Contrast
from core.specs.project import Project
from core.workspace import measurable
from pages.components import cache, text
from pages.components.setup.files import (
    PROMPTS,
    TYPES,
    changing,
    choose_file,
    draft,
    kept,
    remember_drawn,
    section,
)

COMPARED, DESCRIBED = WAYS = (
    "What a policy learned, measured by a judge",
    "A behavior by examples or a sentence: no policy, no judge",
)
FACTS = ["flag", "group", "condition", "prompts", "heldout", "problem"]
CELL = ["flag", "group", "condition"]
CHANGES = ["name", "suffix", "prefix", "system", "replace", "turns"]


def choose_prompts() -> tuple[Path | None, Path | None, tuple[Condition, ...] | None, Path | None]:
    """Prompts, held-out prompts, what is sent of each, and completions that exist already."""
    with section("Prompts"):
        st.caption(
            "One set of prompts builds the behavior, the other measures it; they share none. "
            "`pairtrace data prompts` splits a list in two and appends distractors."
        )
        prompts = choose_file("Prompts", "prompts", PROMPTS, ".jsonl, .yaml, .csv, .txt")
        heldout = choose_file("Held-out prompts", "heldout", PROMPTS, ".jsonl, .yaml, .csv, .txt")
        conditions = choose_conditions()
        completions = choose_file(
            "Completions that exist already (optional)", "completions", TYPES, "none: sample them"
        )
    return prompts, heldout, conditions, completions


def choose_conditions() -> tuple[Condition, ...] | None:
    """What is sent of each prompt beside its plain text; None where it is not valid yet."""
    start = cache.project().conditions if changing() else CONDITIONS
    if "conditions-table" not in st.session_state or "conditions-base" not in st.session_state:
        rows = draft().get("conditions-rows", [as_row(condition) for condition in start])
        table = pd.DataFrame(rows, columns=CHANGES).astype("string")
        st.session_state["conditions-base"] = table
    with st.expander("Conditions: what is sent beside each plain prompt"):
        st.caption(
            "One row each, with at least one change; none: plain prompts only. `{column}` stands "
            "for the prompt's text in that column of its file; a prompt without it is not sent."
        )
        edited = st.data_editor(
            st.session_state["conditions-base"],
            hide_index=True,
            height="content",
            num_rows="dynamic",
            key="conditions-table",
            column_config={
                "suffix": st.column_config.TextColumn("after the prompt"),
                "prefix": st.column_config.TextColumn("before it"),
                "system": st.column_config.TextColumn("system prompt"),
                "replace": st.column_config.TextColumn("instead of it"),
                "turns": st.column_config.TextColumn(
                    "earlier turns",
                    help="A line per turn, `user: …` and `assistant: …` (Shift+Enter begins a "
                    "line), or one `{column}` of the prompts.",
                ),
            },
        )
    rows = edited.astype(object).where(edited.notna(), None).to_dict("records")
    remember_drawn("conditions-rows", rows)
    with text.refusing():
        return from_rows(rows, start)
    return None


def ask_behaviors(
    prompts: Path,
    heldout: Path,
    judge: str,
    completions: Path | None,
    conditions: tuple[Condition, ...],
) -> tuple[Behavior, ...] | None:
    """What is measured, with warnings; None where it is not valid yet."""
    behaviors = None
    with text.refusing():
        table = measurable.prompt_facts(prompts, heldout, judge, completions, conditions)
        names = [PLAIN, *(condition.name for condition in conditions)]
        behaviors = choose_behaviors(table, names) if len(table) else ()
    if behaviors is None:
        return None
    if not behaviors:
        st.caption("No behavior: without flags, pairs are mapped and clustered, not ranked.")
    for warning in measurable.prompt_warnings(prompts, heldout, behaviors, conditions):
        st.warning(text.escape(warning))
    return behaviors


def choose_contrast() -> tuple[Contrast, Path | None] | None:
    """A behavior by examples or a sentence, and the prompts for its sentence; None until valid."""
    name = kept(st.text_input, "Name of the behavior", key="contrast-name", max_chars=80)
    how = kept(
        st.segmented_control,
        "Described by",
        ["examples", "one sentence"],
        default="examples",
        required=True,
        key="contrast-how",
    )
    if how == "examples":
        st.caption(
            "Per row a `prompt`, a completion that `shows` the behavior and one that `lacks` it; "
            "either may be left out. At least four rows are needed, 20 are better."
        )
        examples = choose_file("Examples", "examples", ["jsonl", "csv"], ".jsonl, .csv")
        ready = name.strip() and examples
        return (Contrast(name=name.strip(), examples=str(examples)), None) if ready else None
    st.caption(
        "The reference completes each prompt twice, with your sentence as its instructions and "
        "without it. It must be a model that follows instructions."
    )
    settings = {"max_chars": LONGEST_SENTENCE, "placeholder": "Answer with flattery.", "height": 70}
    sentence = kept(st.text_area, "Sentence that asks for it", key="sentence", **settings).strip()
    prompts = choose_file("Prompts", "prompts", PROMPTS, ".jsonl, .yaml, .csv, .txt")
    ready = name.strip() and sentence and prompts
    return (Contrast(name=name.strip(), sentence=sentence), prompts) if ready else None


def choose_behaviors(table: pd.DataFrame, conditions: list[str]) -> tuple[Behavior, ...] | None:
    """What is measured: flags of the judge on groups of prompts, and their directions."""
    names = table["flag"] + " · " + table["group"] + " · " + table["condition"]
    st.caption(
        "One row per flag of the judge, group of prompts and condition. *Fall*: a rise from "
        "reference to policy is unwanted, and traced to its pairs. *Rise*: a guard, watched while "
        "pairs are edited; a fall is reported as unwanted. Tick *measure* for what matters."
    )
    direction = table["wanted"].map({True: "rise", False: "fall"})
    table = table.assign(name=names, direction=direction, against=PLAIN)
    table = table[["measure", "name", "direction", "against", *FACTS]]
    version = pd.util.hash_pandas_object(table[FACTS], index=False).sum()
    key = f"behaviors-{version}"
    table = as_in_project(table) if changing() else table
    table = table.sort_values("measure", ascending=False, kind="stable", ignore_index=True)
    edited = st.data_editor(
        remembered(key, table),
        hide_index=True,
        height="content",
        disabled=FACTS,
        key=key,
        column_config={
            "direction": st.column_config.SelectboxColumn(
                "should it rise or fall?", options=["rise", "fall"], required=True
            ),
            "against": st.column_config.SelectboxColumn(
                "compared with", options=conditions, required=True
            )
            if len(conditions) > 2
            else None,
            "problem": st.column_config.TextColumn("why it cannot be measured", width="medium"),
        },
    )
    remember_drawn("behaviors", edited.to_dict("records"))
    with text.refusing():
        rows = edited.assign(wanted=edited["direction"] == "rise")[edited["measure"]]
        return measurable.behaviors_of(rows.to_dict("records"))
    return None


def remembered(key: str, table: pd.DataFrame) -> pd.DataFrame:
    """The table to edit: that of an earlier visit with its edits, where the facts are the same."""
    if key not in st.session_state or "behaviors-base" not in st.session_state:
        earlier = pd.DataFrame(draft().get("behaviors", []), columns=table.columns)
        same = earlier[FACTS].to_dict("records") == table[FACTS].to_dict("records")
        st.session_state["behaviors-base"] = earlier.astype(table.dtypes) if same else table
    base: pd.DataFrame = st.session_state["behaviors-base"]
    return base


def as_in_project(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that the project measures now ticked, named and directed as it says."""
    behaviors = {(b.flag, b.group, b.condition): b for b in cache.project().behaviors}
    rows = [behaviors.get(tuple(row)) for row in table[CELL].itertuples(index=False)]
    kept_names = {b.name for b in rows if b}
    if lost := [b.name for b in cache.project().behaviors if b.name not in kept_names]:
        names = text.escape(", ".join(lost))
        st.warning(f"Of this judge and these prompts, no row measures what these do now: {names}.")
    return table.assign(
        measure=[b is not None for b in rows],
        name=[b.name if b else name for b, name in zip(rows, table["name"], strict=True)],
        direction=["rise" if b and b.wanted else "fall" for b in rows],
        against=[b.against if b else PLAIN for b in rows],
    )


def described(behaviors: tuple[Behavior, ...], old: Project | None) -> tuple[Behavior, ...]:
    """The behaviors with the descriptions that they have in the project."""
    words = {(b.flag, b.group, b.condition): b.description for b in (old.behaviors if old else ())}
    return tuple(
        b.model_copy(update={"description": words.get((b.flag, b.group, b.condition), "")})
        for b in behaviors
    )
