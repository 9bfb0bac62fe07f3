"""A new investigation: the embedded organism, or the user's models and preference data.

Every choice is checked as soon as it is made, and nothing runs before all of them are valid.
"""

from pathlib import Path
from typing import NamedTuple

import pandas as pd
import streamlit as st

from core import environment
from core.data import canonical, quality
from core.demo.investigation import ORGANISM
from core.errors import UserError
from core.runs import jobs
from core.specs import project as projects
from core.specs.behaviors import NO_JUDGE, Behavior
from core.specs.project import Project
from core.specs.steps import ConvertSpec, is_run
from core.workspace import checks, measurable
from pages.components import cache, plan, text
from pages.components.setup import costs
from pages.components.setup.files import (
    TYPES,
    choose_file,
    choose_pairs,
    draft,
    kept,
    typed_path,
)
from pages.components.setup.models import Model, choose_models, comparable

NAMED = ("refusal", NO_JUDGE)
FACTS = ["flag", "group", "condition", "prompts", "heldout", "problem"]
CELL = ["flag", "group", "condition"]
TRAINED = {"all weights": {}, "low-rank updates (LoRA)": {"method": "lora"}}
PROMPTS = ["jsonl", "csv", "yaml", "yml", "txt"]

store = cache.store()


def choose_judge() -> str:
    """What decides which flags a completion gets: a name, or the path of a file."""
    typed = str(kept(st.text_input, "Judge", value="refusal", key="judge")).strip()
    st.caption(
        "What decides which flags a completion gets. `refusal` goes by the words that refusals "
        "use; a TOML file names another: regular expressions, a classifier, a language model at an "
        "endpoint, an organism's world. `none`: no flags, only the map and clusters of pairs."
    )
    if not typed:
        text.refuse(UserError("Name a judge: `refusal`, or the path of a judge file (.toml)."))
    return typed.lower() if typed.lower() in NAMED else str(typed_path(typed) or "")


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


def changing() -> bool:
    """Whether the project of this workspace is being changed, not a new one made."""
    return cache.has_project() and bool(draft().get("changing"))


def start_change() -> None:
    """Fill the fields in with what the project is now."""
    project, columns = cache.project(), {}
    pairs = project.pairs
    if is_run(pairs):
        spec = store.spec(pairs)
        if isinstance(spec, ConvertSpec):
            pairs, columns = spec.pairs, spec.columns
    low_rank = project.overrides_of("train").get("method") == "lora"
    values = {
        "changing": True,
        **{name: getattr(project, name) for name in ("name", *projects.PATHS)},
        "pairs": pairs,
        "completions": project.overrides_of("generate").get("completions", ""),
        "trained": list(TRAINED)[int(low_rank)],
        **{f"column-{field}": column for field, column in columns.items()},
    }
    for key in list(st.session_state):
        if key in values or str(key).startswith("behaviors"):
            del st.session_state[key]
    draft().clear()
    draft().update(values)


def stop_change() -> None:
    """Forget what was filled in."""
    for key in draft():
        st.session_state.pop(key, None)
    draft().clear()


def offer_organism() -> None:
    """The embedded organism: everything once, without models to bring."""
    st.text(
        "A tiny OLMo 2 with behaviors planted in its 3,020 preference pairs. Everything that it "
        "shows is computed here, in about five minutes on two cores. Nothing in it is harmful."
    )
    if st.button("Use the organism", type="primary", key="use-organism"):
        store.require_writable()
        projects.save(projects.load(ORGANISM), store.workspace)
        st.switch_page("overview.py")
    st.caption("The same from the command line:")
    st.code("pairtrace init", language="bash")


class Inputs(NamedTuple):
    """What a user brings, each as soon as it is valid; else None."""

    name: str
    reference: Model | None
    policy: Model | None
    pairs: tuple[Path, dict[str, str]] | None
    prompts: Path | None
    heldout: Path | None
    completions: Path | None
    judge: str


def offer_project() -> None:
    """A project of the user's, section by section; the button comes when everything is valid."""
    inputs = ask_inputs()
    if not (inputs.prompts and inputs.heldout and inputs.judge):
        return
    behaviors = ask_behaviors(inputs)
    if behaviors is None or not (inputs.reference and inputs.policy and inputs.pairs):
        return
    trained = ask_training(inputs.policy[0])
    st.subheader("What it will cost")
    sent = measurable.texts_sent(inputs.prompts), measurable.texts_sent(inputs.heldout)
    low_rank = bool(TRAINED[trained])
    costs.show(inputs.reference[1], quality.size(*inputs.pairs), sent, low_rank=low_rank)
    old = cache.project() if changing() else None
    made = made_project(inputs, behaviors, trained, old)
    if old:
        offer_changes(old, made, inputs.pairs[1])
    else:
        offer_creation(made, inputs.pairs[1])


def ask_inputs() -> Inputs:
    """Models, pairs, prompts and judge; says what is still missing."""
    name = kept(st.text_input, "Name of the investigation", key="name", max_chars=80)
    st.subheader("Models")
    reference, policy = choose_models()
    if reference and policy and not comparable(reference, policy):
        policy = None
    st.subheader("Preference pairs")
    pairs = choose_pairs()
    st.subheader("Prompts and judge")
    st.caption(
        "One set of prompts builds the behavior, the other measures it; they share none. "
        "`pairtrace data prompts` splits a list in two and appends distractors."
    )
    prompts = choose_file("Prompts", "prompts", PROMPTS, ".jsonl, .yaml, .csv, .txt")
    heldout = choose_file("Held-out prompts", "heldout", PROMPTS, ".jsonl, .yaml, .csv, .txt")
    completions = choose_file(
        "Completions that exist already (optional)", "completions", TYPES, "none: sample them"
    )
    judge = choose_judge()
    fields = {
        "reference": reference,
        "policy": policy,
        "preference pairs": pairs,
        "prompts": prompts,
        "held-out prompts": heldout,
        "judge": judge,
    }
    if missing := [field for field, value in fields.items() if not value]:
        st.info(f"Still missing: {', '.join(missing)}. Each is checked as you go.")
    return Inputs(name, reference, policy, pairs, prompts, heldout, completions, judge)


def ask_behaviors(inputs: Inputs) -> tuple[Behavior, ...] | None:
    """What is measured, with warnings; None where it is not valid yet."""
    st.subheader("What is measured")
    behaviors = None
    with text.refusing():
        table = measurable.prompt_facts(
            inputs.prompts, inputs.heldout, inputs.judge, inputs.completions
        )
        behaviors = choose_behaviors(table) if len(table) else ()
    if behaviors is None:
        return None
    if not behaviors:
        st.caption("No behavior: without flags, pairs are mapped and clustered, not ranked.")
    for warning in measurable.prompt_warnings(inputs.prompts, inputs.heldout, behaviors):
        st.warning(text.escape(warning))
    return behaviors


def ask_training(policy: Path) -> str:
    """What DPO trains: a key of `TRAINED`."""
    st.subheader("Retraining")
    return kept(
        st.radio,
        "What DPO trains",
        list(TRAINED),
        index=int(checks.base_of(policy, environment.roots()) is not None),
        key="trained",
        horizontal=True,
        help="Low-rank updates take less memory, and are merged into the weights at the end. They "
        "are preselected where the policy is an adapter: it was trained that way.",
    )


def made_project(
    inputs: Inputs, behaviors: tuple[Behavior, ...], trained: str, old: Project | None
) -> Project:
    """The project; of one that is changed, settings that are not asked for here stay."""
    overrides = {step: dict(values) for step, values in (old.overrides if old else {}).items()}
    for step, field, value in (
        ("generate", "completions", str(inputs.completions) if inputs.completions else None),
        ("train", "method", TRAINED[trained].get("method")),
    ):
        settings = {k: v for k, v in overrides.get(step, {}).items() if k != field}
        overrides[step] = settings | ({field: value} if value else {})
    return Project(
        name=inputs.name.strip() or "my investigation",
        reference=str(inputs.reference[0]),
        policy=str(inputs.policy[0]),
        pairs=str(inputs.pairs[0]),
        prompts=str(inputs.prompts),
        heldout=str(inputs.heldout),
        judge=inputs.judge,
        behaviors=described(behaviors, old),
        overrides={step: values for step, values in overrides.items() if values},
        **({"device": old.device, "dtype": old.dtype} if old else {}),
    )


def described(behaviors: tuple[Behavior, ...], old: Project | None) -> tuple[Behavior, ...]:
    """The behaviors with the descriptions that they have in the project."""
    words = {(b.flag, b.group, b.condition): b.description for b in (old.behaviors if old else ())}
    return tuple(
        b.model_copy(update={"description": words.get((b.flag, b.group, b.condition), "")})
        for b in behaviors
    )


def offer_creation(project: Project, columns: dict[str, str]) -> None:
    """Save the project; pairs that are not in the canonical format are converted by a job first."""
    if st.button("Create the project", type="primary", key="create"):
        save(project, columns)


def offer_changes(old: Project, project: Project, columns: dict[str, str]) -> None:
    """Say what must run again, and save the project in place of the old one."""
    spec = conversion(project, columns)
    planned = project
    if spec and store.state(store.run_id(spec)) != "absent":
        planned = project.model_copy(update={"pairs": store.run_id(spec)})
    if planned == old:
        st.info("Nothing is changed yet.")
        return
    again, stay = runs_again(old, planned)
    st.subheader("What must run again")
    if again or stay:
        listed = ", ".join(again) or "nothing", ", ".join(stay) or "nothing"
        st.text(f"Again: {listed[0]}.\nStays as it is: {listed[1]}.")
    else:
        st.text("Nothing: no step has run yet.")
    st.caption(
        "Runs of the project as it was stay in the workspace, and are used again if it is changed "
        "back. Edits keep their pairs; retrained models are measured again if the judge, the "
        "held-out prompts or the behaviors are others."
    )
    if st.button("Save the changes", type="primary", key="save-changes"):
        save(project, columns)


def runs_again(old: Project, new: Project) -> tuple[list[str], list[str]]:
    """Steps of the plan that are finished now, and are not, or still are, with the changes."""
    before = {step.name: step.run for step in plan.steps(old) if step.run}
    again, stay = [], []
    for step in plan.steps(new):
        if step.name in before and store.state(before[step.name]) == "finished":
            is_done = bool(step.run) and store.state(step.run) == "finished"
            (stay if is_done else again).append(step.name)
    return again, stay


def conversion(project: Project, columns: dict[str, str]) -> ConvertSpec | None:
    """The job that brings the pairs into the canonical format; None where they are."""
    if not columns and canonical.is_marked(Path(project.pairs)):
        return None
    return ConvertSpec(pairs=project.pairs, columns=columns)


def save(project: Project, columns: dict[str, str]) -> None:
    """Write the project, queue the conversion that it needs, and forget the draft."""
    store.require_writable()
    spec = conversion(project, columns)
    if spec:
        project = project.model_copy(update={"pairs": jobs.start(store, spec)})
    projects.save(project, store.workspace)
    stop_change()
    st.switch_page("overview.py")


st.title("Change the investigation" if changing() else "Set up an investigation")
st.caption(
    "PairTrace needs two models, before and after preference training, the preference pairs "
    "between them, and prompts that may show what changed."
)
if cache.has_project() and not changing():
    st.info("This workspace has a project. Another one needs another folder:")
    st.code("pairtrace --workspace OTHER-FOLDER app", language="bash")
    st.page_link("overview.py", label="Go to the overview")
    if st.button("Change this project", key="change"):
        start_change()
        st.rerun()
    st.stop()
if changing():
    if st.button("Leave it as it is", key="keep"):
        stop_change()
        st.rerun()
    offer_project()
    st.stop()
kind = kept(
    st.segmented_control,
    "Start with",
    ["The embedded organism", "My own models and pairs"],
    default="The embedded organism",
    key="kind",
)
if kind == "The embedded organism":
    offer_organism()
else:
    offer_project()
