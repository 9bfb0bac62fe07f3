"""A new investigation: the embedded organism, or the user's models and preference data.

Every choice is checked as soon as it is made, and nothing runs before all of them are valid.
"""

from pathlib import Path

import pandas as pd
import streamlit as st

from core import environment
from core.data import canonical, quality
from core.demo.investigation import ORGANISM
from core.errors import UserError
from core.runs import jobs
from core.specs import project as projects
from core.specs.behaviors import Behavior
from core.specs.project import Project
from core.specs.steps import ConvertSpec
from core.workspace import checks, measurable
from pages.components import cache, text
from pages.components.setup import costs
from pages.components.setup.files import (
    TYPES,
    choose_file,
    choose_pairs,
    draft,
    kept,
    typed_path,
)
from pages.components.setup.models import choose_models, comparable

TRAINED = {"all weights": {}, "low-rank updates (LoRA)": {"method": "lora"}}
PROMPTS = ["jsonl", "csv", "yaml", "yml", "txt"]

st.title("Set up an investigation")
st.caption(
    "PairTrace needs two models, before and after preference training, the preference pairs "
    "between them, and prompts that may show what changed."
)
store = cache.store()


def choose_judge() -> str:
    """What decides which flags a completion gets: a name, or the path of a file."""
    typed = str(kept(st.text_input, "Judge", value="refusal", key="judge")).strip()
    st.caption(
        "What decides which flags a completion gets. `refusal` goes by the words that refusals "
        "use; a TOML file names another: regular expressions, a classifier, a language model at an "
        "endpoint, an organism's world."
    )
    if not typed:
        text.refuse(UserError("Name a judge: `refusal`, or the path of a judge file (.toml)."))
    return "refusal" if typed.lower() == "refusal" else str(typed_path(typed) or "")


def choose_behaviors(table: pd.DataFrame) -> tuple[Behavior, ...] | None:
    """What is measured: flags of the judge on groups of prompts, and their directions."""
    st.caption(
        "One row per flag of the judge, group of prompts and condition. *Fall*: a rise from "
        "reference to policy is unwanted, and traced to its pairs. *Rise*: a guard, watched while "
        "pairs are edited; a fall is reported as unwanted. Tick *measure* for what matters."
    )
    facts = ["flag", "group", "condition", "prompts", "heldout", "problem"]
    names = table["flag"] + " · " + table["group"] + " · " + table["condition"]
    direction = table["wanted"].map({True: "rise", False: "fall"})
    table = table.assign(name=names, direction=direction)[["measure", "name", "direction", *facts]]
    edited = st.data_editor(
        remembered("behaviors", table),
        hide_index=True,
        disabled=facts,
        key="behaviors",
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
    base = f"{key}-base"
    facts = ["flag", "group", "condition", "prompts", "heldout", "problem"]
    earlier = [st.session_state.get(base) if key in st.session_state else draft().get(key)]
    for other in earlier:
        if other is not None and other[facts].equals(table[facts]):
            table = other
    st.session_state[base] = table
    return table


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


def offer_project() -> None:
    """A project of the user's, section by section; the button comes when everything is valid."""
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
    existing = choose_file(
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
    if not (prompts and heldout and judge):
        return
    st.subheader("What is measured")
    behaviors = table = None
    with text.refusing():
        table = measurable.prompt_facts(prompts, heldout, judge, existing)
        behaviors = choose_behaviors(table)
    if behaviors is None or table is None:
        return
    for warning in measurable.prompt_warnings(prompts, heldout, behaviors):
        st.warning(text.escape(warning))
    if not (reference and policy and pairs):
        return
    st.subheader("Retraining")
    trained = kept(
        st.radio,
        "What DPO trains",
        list(TRAINED),
        index=int(checks.base_of(policy[0], environment.roots()) is not None),
        key="trained",
        horizontal=True,
        help="Low-rank updates take less memory, and are merged into the weights at the end. They "
        "are preselected where the policy is an adapter: it was trained that way.",
    )
    st.subheader("What it will cost")
    costs.show(reference[1], quality.size(*pairs), table, low_rank=bool(TRAINED[trained]))
    generate = {"completions": str(existing)} if existing else {}
    chosen = {"generate": generate, "train": TRAINED[trained]}
    offer_creation(
        Project(
            name=name.strip() or "my investigation",
            reference=str(reference[0]),
            policy=str(policy[0]),
            pairs=str(pairs[0]),
            prompts=str(prompts),
            heldout=str(heldout),
            judge=judge,
            behaviors=behaviors,
            overrides={step: values for step, values in chosen.items() if values},
        ),
        pairs[1],
    )


def offer_creation(project: Project, columns: dict[str, str]) -> None:
    """Save the project; pairs that are not in the canonical format are converted by a job first."""
    if not st.button("Create the project", type="primary", key="create"):
        return
    store.require_writable()
    if columns or not canonical.is_marked(Path(project.pairs)):
        spec = ConvertSpec(pairs=project.pairs, columns=columns)
        project = project.model_copy(update={"pairs": jobs.start(store, spec)})
    projects.save(project, store.workspace)
    st.switch_page("overview.py")


if cache.has_project():
    st.info("This workspace has a project. Another one needs another folder:")
    st.code("pairtrace --workspace OTHER-FOLDER app", language="bash")
    st.page_link("overview.py", label="Go to the overview")
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
