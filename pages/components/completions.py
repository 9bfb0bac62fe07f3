"""Completions of the same prompt by several models side by side: measured, or tried.

What is measured comes with the judge's verdicts. A prompt of one's own is only completed: a run of
the evaluate step without behaviors for each model, so that a repeated question costs nothing.
"""

import json
from collections.abc import Mapping
from hashlib import sha256

import pandas as pd
import streamlit as st

from core.specs.behaviors import NO_JUDGE, Behavior
from core.specs.project import Project
from core.specs.recipe_text import describe_edit
from core.specs.recipes import EditSpec
from core.specs.steps import EvaluateSpec, TrainSpec
from core.workspace import checks
from pages.components import cache, jobs, rates, text

TRIED = "tried"  # of the session: runs by model of the prompt that was tried last
COLUMNS = 3  # models side by side
ROLLOUTS = 3
STRONGEST = 4.0  # times the vector; more breaks any model


def compare(left: tuple[str, str], right: tuple[str, str], behavior: Behavior, *, key: str) -> None:
    """Two evaluate runs, each as its name and id; the prompt is chosen here.

    Prompts on which the two differ most come first.
    """
    tables = [of_behavior(cache.table(run, "completions"), behavior) for _, run in (left, right)]
    ids = by_difference(*tables, behavior.flag)
    if not ids:
        st.info("No held-out prompt measures this behavior.")
        return
    prompts = tables[0].drop_duplicates("prompt_id").set_index("prompt_id")["prompt"]
    prompt = st.selectbox(
        "Prompt",
        ids,
        format_func=lambda prompt: text.short(prompts[prompt]),
        key=key,
        help="Those on which the two models differ most come first.",
    )
    st.caption("Words that only one of two similar completions has are marked.")
    first, second = (table[table["prompt_id"] == prompt] for table in tables)
    show_rollouts((left[0], first), (right[0], second), behavior.flag)


def show_rollouts(
    left: tuple[str, pd.DataFrame], right: tuple[str, pd.DataFrame], flag: str
) -> None:
    """A prompt, and two models' completions of it by rollout; each model as its name and rows."""
    text.box("prompt, as sent", left[1]["prompt"].iloc[0])
    rollouts = [rows.sort_values("rollout").iterrows() for _, rows in (left, right)]
    for (_, a), (_, b) in zip(*rollouts, strict=False):
        text.side_by_side(
            f"{left[0]}: {rates.verdict(a, flag)}", a["completion"],
            f"{right[0]}: {rates.verdict(b, flag)}", b["completion"],
        )  # fmt: skip


def by_difference(left: pd.DataFrame, right: pd.DataFrame, flag: str) -> list[str]:
    """Prompts that both measured, those whose rates of the flag differ most first."""
    first, second = (
        table.groupby("prompt_id", sort=False)[flag].mean().astype(float) for table in (left, right)
    )
    change = (first - second).abs().reindex(first.index[first.index.isin(second.index)])
    return list(change.sort_values(ascending=False, kind="stable").index)


def of_behavior(table: pd.DataFrame, behavior: Behavior) -> pd.DataFrame:
    """The completions that measure a behavior."""
    rows = (table["group"] == behavior.group) & (table["condition"] == behavior.condition)
    return table[rows]


def show_try(project: Project) -> None:
    """A prompt box that several models answer side by side, one of them steered."""
    st.caption(
        f"A prompt of your own, completed {ROLLOUTS} times by each model. Nothing is measured: a "
        "rate takes many prompts."
    )
    models, vectors = _models(project), _vectors()
    with st.form("try", border=False):
        prompt = st.text_area("Prompt", key="try-prompt", max_chars=4000, height=90)
        names = st.multiselect("Models", list(models), list(models)[:3], key="try-models")
        left, right = st.columns([2, 3])
        steer = left.selectbox("Steer the reference", ["no", *vectors], key="try-vector",
                               help="Adds the behavior's vector to what the reference computes "
                               "at every token, beside the models above.")  # fmt: skip
        times = right.slider(
            "Times the vector", -STRONGEST, STRONGEST, 1.0, 0.25, key="try-times",
            help="1 adds the mean difference between the two models' completions; below 0 takes "
            "it away. Large values break any model.",
        )  # fmt: skip
        if st.form_submit_button("Complete it", type="primary", key="try") and prompt.strip():
            specs = {name: _trial(project, models[name], prompt) for name in names}
            if steer != "no":
                added = {"vector": vectors[steer], "steering": "add", "coefficient": times}
                steered = _trial(project, project.reference, prompt).model_copy(update=added)
                specs[f"reference + {times:g} × {steer}"] = steered
            store = cache.store()
            st.session_state[TRIED] = {name: store.run_id(spec) for name, spec in specs.items()}
            jobs.start(*specs.values())
    runs = st.session_state.get(TRIED, {})
    if runs:
        jobs.follow(list(runs.values()), lambda: _show_tried(runs))


def _models(project: Project) -> dict[str, str]:
    """What can be asked, by name: reference, policy, and every trained arm, edited ones first."""
    trained: dict[str, str] = {}
    models = {"reference": project.reference, "policy": project.policy}
    models = {name: model for name, model in models.items() if model}
    edits, behaviors = cache.specs(EditSpec), cache.ranked_behaviors()
    for run, training in cache.specs(TrainSpec).items():
        if cache.store().state(run) == "finished":
            edit = edits.get(training.pairs)
            what = "; ".join(describe_edit(each, behaviors) for each in edit.edits) if edit else ""
            arm = "baseline" if edit is None else "edited" if edit.control is None else "control"
            name = text.short(f"{arm}, seed {training.seed} {what and f'· {what}'}", 70)
            trained[name if name not in trained else f"{name} · {run}"] = run
    return models | dict(sorted(trained.items(), key=lambda item: not item[0].startswith("edited")))


def _vectors() -> dict[str, str]:
    """The newest finished ranking of each behavior: its vector steers."""
    ranked = reversed(cache.ranked_behaviors().items())
    return {name: run for run, name in ranked if cache.store().state(run) == "finished"}


def _trial(project: Project, model: str, prompt: str) -> EvaluateSpec:
    row = {"prompt_id": "tried", "group": "tried", "topic": "tried", "prompt": prompt.strip()}
    content = f"{json.dumps(row, ensure_ascii=False)}\n".encode()
    name = f"tried-{sha256(content).hexdigest()[:12]}.jsonl"
    cache.store().require_writable()
    path = checks.keep_upload(name, content, cache.store().workspace)
    settings = project.overrides_of("evaluate") | {"rollouts": ROLLOUTS}
    return EvaluateSpec(model=model, prompts=str(path), judge=NO_JUDGE, behaviors=(), **settings)


def _show_tried(runs: Mapping[str, str]) -> None:
    """Each model's completions in a column, or how far it is."""
    names = list(runs)
    for row in range(0, len(names), COLUMNS):
        for column, name in zip(st.columns(COLUMNS), names[row : row + COLUMNS], strict=False):
            with column:
                st.markdown(f"**{text.escape(name)}**")
                info = cache.store().info(runs[name])
                if info.state != "finished":
                    (st.error if info.error else st.text)(text.visible(info.error or info.state))
                    continue
                for completion in cache.table(info.id, "completions")["completion"]:
                    text.box("completion", completion)
