"""A new investigation: the embedded organism, or the user's models and preference data.

Every choice is checked as soon as it is made, and nothing runs before all of them are valid.
"""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from core import environment
from core.data import canonical, quality
from core.data.trl_formats import FIELDS
from core.demo.investigation import ORGANISM
from core.runs import jobs
from core.specs import project as projects
from core.specs.behaviors import Behavior
from core.specs.project import Project
from core.specs.steps import ConvertSpec
from core.workspace import checks
from pages.components import cache, text
from pages.components.setup import costs
from pages.components.setup.models import choose_models, comparable, typed_path

TRAINED = {"all weights": {}, "low-rank updates (LoRA)": {"method": "lora"}}
TYPES = ["jsonl", "json", "csv", "gz", "parquet", "arrow"]
PROMPTS = ["jsonl", "csv", "yaml", "yml", "txt"]

st.title("Set up an investigation")
st.caption(
    "PairTrace needs two models, before and after preference training, the preference pairs "
    "between them, and prompts that may show what changed."
)
store = cache.store()


def choose_file(label: str, key: str, types: Sequence[str], hint: str) -> Path | None:
    """A file on the machine of the app, or an uploaded one, kept in the workspace."""
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    typed = left.text_input(label, key=key, placeholder=hint)
    with right.popover("Upload instead", width="stretch"):
        uploaded = st.file_uploader(f"{label}: upload", type=list(types), key=f"{key}-upload")
    if uploaded is not None:
        return _stored(uploaded.file_id, uploaded.name, uploaded.getvalue())
    return typed_path(typed)


@st.cache_resource(show_spinner=False, max_entries=32)
def _stored(upload: str, name: str, _content: bytes) -> Path:
    return checks.keep_upload(name, _content, store.workspace)


def choose_pairs() -> tuple[Path, dict[str, str]] | None:
    """A preference set and which column serves which field."""
    path = choose_file("Preference pairs", "pairs", TYPES, ".jsonl, .csv, .parquet, or a folder")
    if path is None:
        return None
    with text.refusing():
        columns = choose_columns(quality.preview(path).columns)
        preview = quality.preview(path, columns)
        show_preview(preview)
        return (path, columns) if len(preview.pairs) else None
    return None


def choose_columns(names: list[str]) -> dict[str, str]:
    """Field → column, for fields that another column serves; asked where names do not say it."""
    with st.expander("Which column is what", expanded=not {"chosen", "rejected"} <= set(names)):
        choices = {}
        for column, field in zip(st.columns(len(FIELDS)), FIELDS, strict=True):
            options = ["—", *names]
            index = options.index(field) if field in names else 0
            choices[field] = column.selectbox(field, options, index=index, key=f"column-{field}")
    return {field: name for field, name in choices.items() if name not in ("—", field)}


def show_preview(preview: quality.Preview) -> None:
    """The first pairs as they will be read, and what is wrong with the first rows that are not."""
    if len(preview.pairs):
        texts = preview.pairs[["prompt", "chosen", "rejected", "source"]]
        width = st.column_config.TextColumn(width="medium")
        st.dataframe(
            texts.map(text.short),
            hide_index=True,
            height="content",
            column_config=dict.fromkeys(("prompt", "chosen", "rejected"), width),
        )
    else:
        st.error("None of the first rows is a usable pair.", icon="⚠️")
    if len(preview.skipped):
        st.caption(f"{len(preview.skipped)} of the first rows are left out:")
        st.dataframe(preview.skipped[["row", "field", "reason"]], hide_index=True, height="content")


def choose_behaviors(prompts: Path, heldout: Path, judge: str) -> tuple[Behavior, ...] | None:
    """What is measured: flags of the judge on groups of prompts."""
    with text.refusing():
        table = checks.prompt_facts(prompts, heldout, judge)
        st.caption(
            "One row per flag of the judge, group of prompts and condition. Tick *wanted* where "
            "the model should show it: such rows are guards, watched and not traced. Every other "
            "row that rises from reference to policy is traced to its pairs. Untick *measure* to "
            "leave one out."
        )
        names = table["flag"] + " · " + table["group"] + " · " + table["condition"]
        table = table.assign(measure=True, name=names, wanted=False)
        facts = ["flag", "group", "condition", "prompts", "heldout"]
        edited = st.data_editor(
            table[["measure", "name", "wanted", *facts]],
            hide_index=True,
            disabled=facts,
            key="behaviors",
        )
        return checks.behaviors_of(edited[edited["measure"]].to_dict("records"))
    return None


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
    name = st.text_input("Name of the investigation", key="name", max_chars=80)
    st.subheader("Models")
    reference, policy = choose_models()
    if reference and policy and not comparable(reference, policy):
        return
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
    judge = st.text_input("Judge", value="refusal", key="judge")
    st.caption(
        "What decides which flags a completion gets. `refusal` goes by the words that refusals "
        "use; a TOML file names another: a classifier, a language model at an endpoint, an "
        "organism's world."
    )
    if not (reference and policy and pairs and prompts and heldout):
        st.info("Fill in the fields above; each is checked as you go.")
        return
    judge = judge if judge == "refusal" else str(typed_path(judge) or "")
    st.subheader("What is measured")
    behaviors = choose_behaviors(prompts, heldout, judge) if judge else None
    if behaviors is None:
        return
    st.subheader("Retraining")
    trained = st.radio(
        "What DPO trains",
        list(TRAINED),
        index=int(checks.base_of(policy[0], environment.roots()) is not None),
        key="trained",
        horizontal=True,
        help="Low-rank updates take less memory, and are merged into the weights at the end. They "
        "are preselected where the policy is an adapter: it was trained that way.",
    )
    st.subheader("What it will cost")
    table = checks.prompt_facts(prompts, heldout, judge)
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
kind = st.segmented_control(
    "Start with",
    ["The embedded organism", "My own models and pairs"],
    default="The embedded organism",
    key="kind",
)
if kind == "The embedded organism":
    offer_organism()
else:
    offer_project()
