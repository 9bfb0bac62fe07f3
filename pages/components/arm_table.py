"""What the arms of one edit measured, arranged for looking: before, after, and what got worse."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from core.intervention.evaluation.results import ARMS, outcomes
from core.specs.behaviors import Behavior
from core.specs.project import Project
from core.specs.steps import EditSpec, TrainSpec
from core.stats import LEAST_SEEDS, seed_interval, seed_rate_interval
from pages.components import cache, jobs
from pages.components import rates as rate_text


def ensure_measured(project: Project) -> None:
    """Reference and policy must be measured on the same held-out prompts to compare with."""
    for name in ("reference", "policy"):
        spec = project.evaluate(getattr(project, name))
        if cache.store().state(cache.store().run_id(spec)) != "finished":
            jobs.panel(spec, f"Measure the {name} on the held-out prompts")


def of_edit(project: Project, edit: str) -> pd.DataFrame:
    """Rates of the models before, and of the arms of this edit, one row per seed and behavior."""
    known = all_measured(project)
    wanted = (known["edit"] == edit) | known["arm"].isin(["reference", "policy", "baseline"])
    return known[wanted].reset_index(drop=True)


def all_measured(project: Project) -> pd.DataFrame:
    """Rates of every model that was measured as the project asks for now, whatever its edit."""
    finished = tuple(cache.store().finished("evaluate"))
    known = _outcomes(str(cache.store().workspace), finished, project)
    planned = _planned(project, known["train"]) if len(known) else set()
    return known[known["evaluate"].isin(planned)].reset_index(drop=True)


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
    known = cache.specs(TrainSpec)
    found = {run: (arms[t.pairs], t.seed) for run, t in known.items() if t.pairs in arms}
    return dict(sorted(found.items(), key=lambda item: item[1]))


def rate(rows: pd.DataFrame) -> str:
    """One arm's rate: its interval over prompts, or over training seeds where there are enough."""
    n = rate_text.count(int(rows["n"].sum()))
    if len(rows) == 1:
        row = rows.iloc[0]
        return rate_text.percent(row["rate"], row["low"], row["high"], int(row["n"]))
    rates = list(rows["rate"])
    if len(rates) < LEAST_SEEDS:
        each = ", ".join(f"{one:.1%}" for one in rates)
        return f"{sum(rates) / len(rates):.1%} ({len(rates)} seeds: {each}), {n}"
    if max(rates) == min(rates):  # no spread over seeds, yet prompts leave a doubt
        low, high = rows["low"].min(), rows["high"].max()
        return (
            f"{rates[0]:.1%} in all {len(rates)} seeds, each {rate_text.interval(low, high)}, {n}"
        )
    found = seed_rate_interval(rates)
    span = rate_text.interval(found.low, found.high)
    return f"{found.value:.1%} {span}, {found.n}\N{NBSP}seeds, {n}"


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
        return "Its random control is not measured: what any such edit does is not told apart."
    differences = (edited - control).dropna()
    if differences.empty:
        return "Edited and control have no training seed in common yet."
    if len(differences) < LEAST_SEEDS:
        each = ", ".join(f"{100 * one:+.1f}" for one in differences)
        return f"Edited minus control: {each} points. An interval needs {LEAST_SEEDS} seeds."
    found = seed_interval(list(differences))
    apart = "apart" if found.low > 0 or found.high < 0 else "not told apart"
    return (
        f"Edited minus control: {100 * found.value:+.1f} points "
        f"[{100 * found.low:+.1f}, {100 * found.high:+.1f}], {found.n} seeds: {apart}."
    )


def worse(measured: pd.DataFrame, behaviors: Sequence[Behavior]) -> pd.DataFrame:
    """Behaviors whose edited mean left the policy's interval on the wrong side."""
    rows = []
    for behavior in behaviors:
        one = measured[measured["behavior"] == behavior.name]
        before, after = one[one["arm"] == "policy"], one[one["arm"] == "edited"]
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
    named = {
        arm if pd.isna(seed) else f"{arm}, seed {seed}": run
        for arm, seed, run in zip(rows["arm"], rows["seed"], rows["evaluate"], strict=True)
    }
    return dict(sorted(named.items(), key=lambda item: _position(item[0])))


def numbered(measured: pd.DataFrame) -> pd.DataFrame:
    """One row per behavior and model, seeds told apart."""
    seeds = measured["seed"].map(lambda seed: "" if pd.isna(seed) else f", seed {seed}")
    return measured.assign(model=measured["arm"] + seeds).sort_values(["behavior", "model"])


def _planned(project: Project, trainings: pd.Series) -> set[str]:
    """Evaluate runs as the project asks for them now: same prompts, same rollouts, same files."""
    models = {project.reference, project.policy, *trainings[trainings != ""]}
    return {cache.store().run_id(project.evaluate(model)) for model in models}


def _position(name: str) -> tuple[int, str]:
    return ARMS.index(name.partition(", seed ")[0]), name
