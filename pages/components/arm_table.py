"""Measured rates of an edit's arms: before, after, against the control, and what got worse."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from core.intervention.evaluation.results import ARMS, outcomes
from core.specs.behaviors import Behavior
from core.specs.project import Project
from core.specs.steps import EditSpec, TrainSpec
from core.stats import LEAST_SEEDS, seed_interval, seed_rate_interval
from pages.components import cache, jobs, rates


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
    return measured[measured["evaluate"].isin(planned)].reset_index(drop=True)


@st.cache_data(show_spinner=False, max_entries=8, hash_funcs={Project: Project.model_dump_json})
def _outcomes(workspace: str, finished: tuple[str, ...], project: Project) -> pd.DataFrame:
    return outcomes(cache.store(), project)


def trainings(edit: str) -> dict[str, tuple[str, int]]:
    """Every train run of this edit's arms, whatever its state → its arm and seed."""
    store = cache.store()
    spec = store.spec(edit, EditSpec)
    arms = {edit: "edited"}
    for run, other in cache.specs(EditSpec).items():
        if other.control is not None and other.model_copy(update={"control": None}) == spec:
            arms[run] = "random control"
    specs = cache.specs(TrainSpec).items()
    trained = {run: (arms[train.pairs], train.seed) for run, train in specs if train.pairs in arms}
    return dict(sorted(trained.items(), key=lambda item: item[1]))


def rate(rows: pd.DataFrame) -> str:
    """One arm's rate: its interval over prompts, or over training seeds where there are enough."""
    n = rates.count(int(rows["n"].sum()))
    if len(rows) == 1:
        row = rows.iloc[0]
        return rates.percent(row["rate"], row["low"], row["high"], int(row["n"]))
    values = list(rows["rate"])
    if len(values) < LEAST_SEEDS:
        each = ", ".join(f"{value:.1%}" for value in values)
        return f"{sum(values) / len(values):.1%} ({len(values)} seeds: {each}), {n}"
    if max(values) == min(values):  # no spread over seeds; the choice of prompts is the doubt left
        bounds = rates.interval(rows["low"].min(), rows["high"].max())
        return f"{values[0]:.1%} in all {len(values)} seeds, each {bounds}, {n}"
    mean = seed_rate_interval(values)
    bounds = rates.interval(mean.low, mean.high)
    return f"{mean.value:.1%} {bounds}, {mean.n}\N{NBSP}seeds, {n}"


def headline(measured: pd.DataFrame, behavior: str) -> str:
    """The answer for one behavior: before, after, and next to the control."""
    rows = measured[measured["behavior"] == behavior]
    means = rows.groupby("arm")["rate"].mean()
    if not {"policy", "edited"} <= set(means.index):
        return f"{behavior}: policy or edited are not measured yet."
    return (
        f"{behavior}: {means['policy']:.1%} in the policy, {means['edited']:.1%} after the edit. "
        + against_control(rows)
    )


def traced(spec: EditSpec) -> list[str]:
    """The behaviors whose rankings an edit reads."""
    behaviors = cache.ranked_behaviors()
    runs = [run for edit in spec.edits for run in edit.recipe.runs()]
    return list(dict.fromkeys(behaviors[run] for run in runs if run in behaviors))


def against_control(rows: pd.DataFrame) -> str:
    """Edited minus control, seed by seed, with the seeds as the unit."""
    edited, control = (
        rows[rows["arm"] == arm].set_index("seed")["rate"] for arm in ("edited", "random control")
    )
    if control.empty:
        return "Its random control is not measured: what any edit of this size does is not known."
    differences = (edited - control).dropna()
    if differences.empty:
        return "Edited and control have no training seed in common yet."
    if len(differences) < LEAST_SEEDS:
        each = ", ".join(f"{100 * difference:+.1f}" for difference in differences)
        return f"Edited minus control: {each} points. An interval needs {LEAST_SEEDS} seeds."
    mean = seed_interval(list(differences))
    verdict = "different" if mean.low > 0 or mean.high < 0 else "no clear difference"
    return (
        f"Edited minus control: {100 * mean.value:+.1f} points "
        f"[{100 * mean.low:+.1f}, {100 * mean.high:+.1f}], {mean.n} seeds: {verdict}."
    )


def worse(measured: pd.DataFrame, behaviors: Sequence[Behavior]) -> pd.DataFrame:
    """Behaviors whose edited mean left the policy's interval on the wrong side."""
    rows = []
    for behavior in behaviors:
        arms = measured[measured["behavior"] == behavior.name]
        before, after = arms[arms["arm"] == "policy"], arms[arms["arm"] == "edited"]
        if before.empty or after.empty:
            continue
        rate, low, high = (float(before[name].iloc[0]) for name in ("rate", "low", "high"))
        mean = float(after["rate"].mean())
        if (mean < low) if behavior.wanted else (mean > high):
            rows.append(
                {
                    "behavior": behavior.name,
                    "policy": f"{rate:.1%} [{low:.1%}, {high:.1%}]",
                    "edited": f"{mean:.1%}, {len(after)} seed{'s'[: len(after) != 1]}",
                    "change": f"{100 * (mean - rate):+.1f} points",
                }
            )
    return pd.DataFrame(rows)


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
