"""What a project sends of its prompts, and what it measures: flags, groups and directions."""

from pathlib import Path

import pandas as pd
import streamlit as st

from core.data.conditions import CONDITIONS, PLAIN, Condition, from_rows
from core.specs.behaviors import Behavior
from core.specs.project import Project
from core.workspace import measurable
from pages.components import cache, text
from pages.components.setup.files import changing, draft

FACTS = ["flag", "group", "condition", "prompts", "heldout", "problem"]
CELL = ["flag", "group", "condition"]
CHANGES = ["name", "suffix", "prefix", "system", "replace"]


def choose_conditions() -> tuple[Condition, ...] | None:
    """What is sent of each prompt beside its plain text; None where it is not valid yet."""
    start = cache.project().conditions if changing() else CONDITIONS
    visit = "conditions-table" in st.session_state
    table = st.session_state.get("conditions-base") if visit else draft().get("conditions-table")
    if table is None:
        rows = [condition.model_dump() for condition in start]
        table = pd.DataFrame(rows).reindex(columns=CHANGES).astype("string")
    st.session_state["conditions-base"] = table
    with st.expander("Conditions: what is sent beside each plain prompt"):
        st.caption(
            "One row each, with at least one change; none: plain prompts only. `{column}` stands "
            "for the prompt's text in that column of its file; a prompt without it is not sent."
        )
        edited = st.data_editor(
            table,
            hide_index=True,
            height="content",
            num_rows="dynamic",
            key="conditions-table",
            column_config={
                "suffix": st.column_config.TextColumn("after the prompt"),
                "prefix": st.column_config.TextColumn("before it"),
                "system": st.column_config.TextColumn("system prompt"),
                "replace": st.column_config.TextColumn("instead of it"),
            },
        )
    draft()["conditions-table"] = edited
    with text.refusing():
        return from_rows(edited.to_dict("records"), start)
    return None


def ask_behaviors(
    prompts: Path,
    heldout: Path,
    judge: str,
    completions: Path | None,
    conditions: tuple[Condition, ...],
) -> tuple[Behavior, ...] | None:
    """What is measured, with warnings; None where it is not valid yet."""
    st.subheader("What is measured")
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
    draft()["behaviors"] = edited
    with text.refusing():
        rows = edited.assign(wanted=edited["direction"] == "rise")[edited["measure"]]
        return measurable.behaviors_of(rows.to_dict("records"))
    return None


def remembered(key: str, table: pd.DataFrame) -> pd.DataFrame:
    """The table to edit: that of an earlier visit with its edits, where the facts are the same."""
    visit = key in st.session_state
    earlier = st.session_state.get("behaviors-base") if visit else draft().get("behaviors")
    if earlier is not None and earlier[FACTS].equals(table[FACTS]):
        table = earlier
    st.session_state["behaviors-base"] = table
    return table


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
