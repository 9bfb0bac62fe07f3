"""Measured rates of an edit's arms: before, after and of the control, and the verdict on them."""

import pandas as pd
import streamlit as st

from core.intervention.evaluation import verdict as verdicts
from core.intervention.evaluation.results import ARMS, of_loss, outcomes
from core.intervention.evaluation.verdict import Verdict
from core.specs.behaviors import Behavior
from core.specs.project import Project
from core.specs.recipes import EditSpec
from core.specs.steps import EvaluateSpec, TrainSpec
from pages.components import cache, jobs


def ensure_measured(project: Project) -> None:
    """Offer to measure reference and policy on the held-out prompts, to compare arms with."""
    for name in ("reference", "policy"):
        spec = project.evaluate(getattr(project, name))
        if cache.store().state(cache.store().run_id(spec)) != "finished":
            jobs.panel(spec, f"Measure the {name} on the held-out prompts")


def of_edit(project: Project, edit: str) -> pd.DataFrame:
    """Rates of the models before, and of the arms of this edit, one row per seed and behavior."""
    measured = all_measured(project)
    shared = measured["arm"].isin(["reference", "policy", "baseline"])
    return measured[shared | (measured["edit"] == edit)].reset_index(drop=True)


def all_measured(project: Project) -> pd.DataFrame:
    """Rates of every model that was measured as the project asks for now, whatever its edit."""
    store = cache.store()
    measured = _outcomes(str(store.workspace), tuple(store.finished("evaluate")), project)
    if measured.empty:
        return measured
    trained = measured.loc[measured["train"] != "", "train"]
    models = {project.reference, project.policy, *trained}
    planned = {store.run_id(project.evaluate(model)) for model in models}
    asked = {  # completions that were sampled elsewhere count as if they were sampled here
        run: store.run_id(spec.model_copy(update={"completions": None}))
        for run, spec in cache.specs(EvaluateSpec).items()
    }
    return measured[measured["evaluate"].map(asked).isin(planned)].reset_index(drop=True)


@st.cache_data(
    show_spinner=False,
    max_entries=64,
    hash_funcs=dict.fromkeys((Project, Behavior), lambda record: record.model_dump_json()),
)
def _verdict(measured: pd.DataFrame, behavior: Behavior, project: Project) -> Verdict | None:
    return verdicts.verdict(cache.store(), measured, behavior, project.behaviors)


@st.cache_data(show_spinner=False, max_entries=8, hash_funcs={Project: Project.model_dump_json})
def _outcomes(workspace: str, finished: tuple[str, ...], project: Project) -> pd.DataFrame:
    return outcomes(cache.store(), project)


def trainings(edit: str) -> dict[str, tuple[str, int]]:
    """Every train run of this edit's arms and the baseline, in any state → its arm and seed."""
    store = cache.store()
    spec = store.spec(edit, EditSpec)
    arms = {edit: "edited", spec.pairs: "baseline"}
    for run, other in cache.specs(EditSpec).items():
        if other.control is not None and other.model_copy(update={"control": None}) == spec:
            arms[run] = "random control"
    specs = cache.specs(TrainSpec).items()
    trained = {
        run: (arms[train.pairs], train.seed)
        for run, train in specs
        if train.pairs in arms and not of_loss(train)
    }
    return dict(sorted(trained.items(), key=lambda item: item[1]))


def verdict(measured: pd.DataFrame, behavior: Behavior) -> Verdict | None:
    """The verdict on one edit's arms, for one behavior; None before it is measured."""
    return _verdict(measured, behavior, cache.project())


def traced(spec: EditSpec) -> list[str]:
    """The behaviors whose rankings an edit reads."""
    behaviors = cache.ranked_behaviors()
    runs = [run for edit in spec.edits for run in edit.runs()]
    return list(dict.fromkeys(behaviors[run] for run in runs if run in behaviors))


def completions(measured: pd.DataFrame) -> dict[str, str]:
    """Evaluate runs by what they measured, such as `edited, seed 0`."""
    rows = measured.drop_duplicates("evaluate")
    runs = {
        arm if pd.isna(seed) else f"{arm}, seed {seed}": run
        for arm, seed, run in zip(rows["arm"], rows["seed"], rows["evaluate"], strict=True)
    }
    order = {name: (ARMS.index(name.partition(", seed ")[0]), name) for name in runs}
    return {name: runs[name] for name in sorted(runs, key=order.__getitem__)}


def numbered(measured: pd.DataFrame) -> pd.DataFrame:
    """One row per behavior and model, the seed in the model's name."""
    seeds = measured["seed"].map(lambda seed: "" if pd.isna(seed) else f", seed {seed}")
    return measured.assign(model=measured["arm"] + seeds).sort_values(["behavior", "model"])
