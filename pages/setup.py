"""A new investigation: the embedded organism, or the user's models and preference data.

Every choice is checked as soon as it is made, and nothing runs before all of them are valid.
"""

import shlex
from pathlib import Path
from typing import NamedTuple

import streamlit as st

from core.data import canonical, quality
from core.data.conditions import Condition
from core.demo.investigation import ORGANISM
from core.errors import UserError
from core.runs import jobs
from core.specs import project as projects
from core.specs.behaviors import Behavior
from core.specs.project import Project
from core.specs.steps import ConvertSpec, is_run
from core.workspace import checks, measurable
from pages.components import cache, plan, text
from pages.components.setup.behaviors import (
    COMPARED,
    DESCRIBED,
    WAYS,
    ask_behaviors,
    choose_contrast,
    choose_prompts,
    described,
)
from pages.components.setup.files import (
    changing,
    choose_pairs,
    draft,
    forget_draft,
    is_missing,
    kept,
    section,
)
from pages.components.setup.judge import choose_judge, fields_of, show_preview
from pages.components.setup.models import (
    REFERENCE,
    TRAINED,
    Model,
    ask_training,
    choose_model,
    choose_models,
    comparable,
    show_contrast_cost,
    show_costs,
)

store = cache.store()


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
        "way": COMPARED if project.policy else DESCRIBED,
        **{name: getattr(project, name) for name in ("name", *projects.PATHS)},
        "pairs": pairs,
        "completions": project.overrides_of("generate").get("completions", ""),
        "trained": list(TRAINED)[int(low_rank)],
        **fields_of(project.judge),
        **{f"column-{field}": column for field, column in columns.items()},
    }
    forget_draft()
    draft().update(values)


def offer_organism() -> None:
    """The embedded organism: everything once, without models to bring."""
    st.text(
        "A tiny OLMo 2 with behaviors planted in its 3,020 preference pairs. Everything that it "
        "shows is computed here, in about five minutes on two cores. Nothing in it is harmful."
    )
    if st.button("Use the organism", type="primary", key="use-organism"):
        store.require_writable()
        projects.save(projects.load(ORGANISM), store.workspace)
        forget_draft()
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
    conditions: tuple[Condition, ...] | None


def offer_project() -> None:
    """A project of the user's, section by section; the button comes when everything is valid."""
    typed = kept(st.text_input, "Name of the investigation", key="name", max_chars=80)
    name = typed.strip() or "my investigation"
    way = COMPARED
    if not (changing() and cache.project().policy):
        options = {"default": COMPARED, "required": True, "key": "way"}
        way = kept(st.segmented_control, "What is traced", WAYS, **options)
    if way == DESCRIBED:
        return offer_described(name)
    inputs = ask_inputs(name)
    if not (inputs.prompts and inputs.heldout and inputs.judge) or inputs.conditions is None:
        return
    with section("What is measured"):
        behaviors = ask_behaviors(
            inputs.prompts, inputs.heldout, inputs.judge, inputs.completions, inputs.conditions
        )
    if behaviors is None or not (inputs.reference and inputs.policy and inputs.pairs):
        return
    try:
        folders = [model[0] for model in (inputs.reference, inputs.policy)]
        checks.check_system_prompts(inputs.conditions, folders)
    except UserError as error:
        text.refuse(error)
        return
    trained = ask_training(inputs.policy[0])
    sent = tuple(
        measurable.texts_sent(path, inputs.conditions) for path in (inputs.prompts, inputs.heldout)
    )
    with section("What it will cost"):
        low_rank = bool(TRAINED[trained])
        show_costs(inputs.reference[1], quality.size(*inputs.pairs), sent, low_rank=low_rank)
    offer(made_project(inputs, behaviors, trained), inputs.pairs[1])


def offer_described(name: str) -> None:
    """A project without a policy; behaviors of one that is changed stay as they are."""
    with section("Model"):
        reference = choose_model(REFERENCE, "reference")
    with section("Preference pairs"):
        pairs = choose_pairs()
    chosen = None
    if not changing():
        with section("Behavior"):
            chosen = choose_contrast()
    fields = {"reference": reference, "preference pairs": pairs, "behavior": changing() or chosen}
    if is_missing(fields):
        return None
    update = {"name": name, "reference": str(reference[0]), "pairs": str(pairs[0])}
    if changing():
        st.caption("Behaviors are added, and their rankings read, on the page Behaviors.")
        return offer(cache.project().model_copy(update=update), pairs[1])
    contrast, prompts = chosen
    with text.refusing(), section("What it will cost"):
        made = Project(**update, prompts=str(prompts or ""), contrasts=(contrast,))
        show_contrast_cost(made, contrast)
        show_costs(reference[1], quality.size(*pairs), None, low_rank=False)
        offer(made, pairs[1])


def ask_inputs(name: str) -> Inputs:
    """Models, pairs, prompts and judge; says what is still missing."""
    with section("Models"):
        reference, policy = choose_models()
        if reference and policy and not comparable(reference, policy):
            policy = None
    with section("Preference pairs"):
        pairs = choose_pairs()
    prompts, heldout, conditions, completions = choose_prompts()
    with section("Judge"):
        judge = choose_judge()
        if judge:
            show_preview(judge, completions, pairs)
    fields = {
        "reference": reference,
        "policy": policy,
        "preference pairs": pairs,
        "prompts": prompts,
        "held-out prompts": heldout,
        "judge": judge,
    }
    is_missing(fields)
    return Inputs(name, reference, policy, pairs, prompts, heldout, completions, judge, conditions)


def made_project(inputs: Inputs, behaviors: tuple[Behavior, ...], trained: str) -> Project:
    """The project; of one that is changed, settings that are not asked for here stay."""
    old = cache.project() if changing() else None
    overrides = {step: dict(values) for step, values in (old.overrides if old else {}).items()}
    for step, field, value in (
        ("generate", "completions", str(inputs.completions) if inputs.completions else None),
        ("train", "method", TRAINED[trained].get("method")),
    ):
        settings = {k: v for k, v in overrides.get(step, {}).items() if k != field}
        overrides[step] = settings | ({field: value} if value else {})
    return Project(
        name=inputs.name,
        reference=str(inputs.reference[0]),
        policy=str(inputs.policy[0]),
        pairs=str(inputs.pairs[0]),
        prompts=str(inputs.prompts),
        heldout=str(inputs.heldout),
        judge=inputs.judge,
        conditions=inputs.conditions,
        behaviors=described(behaviors, old),
        overrides={step: values for step, values in overrides.items() if values},
        **({"device": old.device, "dtype": old.dtype, "contrasts": old.contrasts} if old else {}),
    )


def offer(project: Project, columns: dict[str, str]) -> None:
    """Save the project; pairs that are not in the canonical format are converted by a job first."""
    if changing():
        offer_changes(cache.project(), project, columns)
    elif st.button("Create the project", type="primary", key="create"):
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
    again, stay = plan.runs_again(old, planned)
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
    forget_draft()
    st.switch_page("overview.py")


st.title("Change the investigation" if changing() else "Set up an investigation")
st.caption(
    "PairTrace needs two models, before and after preference training, the preference pairs "
    "between them, and prompts that may show what changed."
)
if cache.has_project() and not changing():
    st.info("This workspace has a project. Another one needs another folder, in the same app:")
    st.code(shlex.join(["pairtrace", "app", str(store.workspace), "OTHER-FOLDER"]), language="bash")
    st.page_link("overview.py", label="Go to the overview")
    if st.button("Change this project", key="change"):
        start_change()
        st.rerun()
    st.stop()
if changing():
    if st.button("Leave it as it is", key="keep"):
        forget_draft()
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
