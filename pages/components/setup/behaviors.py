"""What a project measures: flags of its judge on groups of prompts, and their directions."""

from pathlib import Path

import pandas as pd
import streamlit as st

from core.data.conditions import Condition
from core.specs.behaviors import Behavior
from core.specs.project import Project
from core.workspace import measurable
from pages.components import cache, text
from pages.components.setup.files import changing, draft

FACTS = ["flag", "group", "condition", "prompts", "heldout", "problem"]
CELL = ["flag", "group", "condition"]


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
        behaviors = choose_behaviors(table) if len(table) else ()
    if behaviors is None:
        return None
    if not behaviors:
        st.caption("No behavior: without flags, pairs are mapped and clustered, not ranked.")
    for warning in measurable.prompt_warnings(prompts, heldout, behaviors, conditions):
        st.warning(text.escape(warning))
    return behaviors


def choose_behaviors(table: pd.DataFrame) -> tuple[Behavior, ...] | None:
    """What is measured: flags of the judge on groups of prompts, and their directions."""
    st.caption(
        "One row per flag of the judge, group of prompts and condition. *Fall*: a rise from "
        "reference to policy is unwanted, and traced to its pairs. *Rise*: a guard, watched while "
        "pairs are edited; a fall is reported as unwanted. Tick *measure* for what matters."
    )
    names = table["flag"] + " · " + table["group"] + " · " + table["condition"]
    direction = table["wanted"].map({True: "rise", False: "fall"})
    table = table.assign(name=names, direction=direction)[["measure", "name", "direction", *FACTS]]
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
    )


def described(behaviors: tuple[Behavior, ...], old: Project | None) -> tuple[Behavior, ...]:
    """The behaviors with what is not asked for here, as it is in the project."""
    earlier = {(b.flag, b.group, b.condition): b for b in (old.behaviors if old else ())}
    rows = [(b, earlier.get((b.flag, b.group, b.condition), b)) for b in behaviors]
    return tuple(
        new.model_copy(update={"description": b.description, "against": b.against})
        for new, b in rows
    )
