"""Rates of every finished evaluation, by arm: the table under every before/after claim.

An evaluation names its model; the model's spec names its pairs; the pairs' spec names the edit.
Following these names gives the arm of a measurement, so nothing is stored beside the runs.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from core.discovery.alarms import complement_of
from core.intervention.evaluation.rates import rates
from core.runs.hashing import fingerprint_model
from core.runs.store import Store
from core.specs.base import identity
from core.specs.behaviors import Behavior
from core.specs.project import Project
from core.specs.recipes import EditSpec
from core.specs.steps import EvaluateSpec, TrainSpec, is_run
from core.stats import LEAST_SEEDS, Interval, change_interval, seed_rate_interval
from core.storage.tables import table as read_table

COLUMNS = ("arm", "edit", "seed", "evaluate", "train")
BEFORE = ("policy", "reference")  # where both are the same model, it is the reference
ARMS = ("reference", "policy", "baseline", "random control", "edited")
CELL = ["flag", "group", "condition"]
MOVED = [
    *CELL,
    *("reference", "reference_low", "reference_high", "reference_n"),
    *("policy", "policy_low", "policy_high", "policy_n", "change", "change_low", "change_high"),
]
BY_ARM = ("rate", "low", "high", "n", "seeds")


def outcomes(store: Store, project: Project) -> pd.DataFrame:
    """One row per finished evaluation and behavior: where it came from, then its rates.

    `arm` is reference, policy, baseline, edited, random control, or steered; `edit` the edit run
    that the arm belongs to (for a control: the edit it is matched to); `seed` the training seed,
    NA where nothing was trained.
    """
    tables = [
        read_table(store.output(run) / "rates.parquet").drop(columns="model").assign(**origin)
        for run, origin in _origins(store, project)
    ]
    if not tables:
        return pd.DataFrame(columns=[*COLUMNS, "behavior", "rate", "low", "high", "n"])
    return pd.concat(tables, ignore_index=True).astype({"seed": "Int64"})


def by_arm(measured: pd.DataFrame) -> pd.DataFrame:
    """`behavior, wanted, arm, rate, low, high, n, seeds`: one row per behavior and arm.

    The interval is over prompts where there is one evaluation, over training seeds where there
    are three or more, NaN for two. Seeds without spread get the widest interval over prompts.
    """
    rows = [
        [
            *(behavior, bool(group["wanted"].iloc[0]), arm, group["rate"].mean()),
            *(*_interval(group), int(group["n"].sum()), len(group)),
        ]
        for (behavior, arm), group in measured.groupby(["behavior", "arm"], sort=False)
    ]
    table = pd.DataFrame(rows, columns=["behavior", "wanted", "arm", *BY_ARM])
    places = {arm: place for place, arm in enumerate(ARMS)}
    return table.sort_values(
        "arm", key=lambda arm: arm.map(places).fillna(len(ARMS)), kind="stable", ignore_index=True
    )


def of_conditions(store: Store, measured: pd.DataFrame, behavior: Behavior) -> pd.DataFrame:
    """The columns of `outcomes` for a behavior's flag and group, a row per condition.

    Conditions are in the order of the prompts' file: plain first.
    """
    tables = []
    for _, row in measured.drop_duplicates("evaluate").iterrows():
        completions = read_table(store.output(row["evaluate"]) / "completions.parquet")
        completions = completions[completions["group"] == behavior.group]
        for condition in completions["condition"].unique():
            variant = behavior.model_copy(update={"condition": condition})
            table = rates(completions, [variant]).drop(columns="model")
            tables.append(table.assign(**{name: row[name] for name in COLUMNS}))
    return pd.concat(tables, ignore_index=True) if tables else measured.head(0)


def of_behaviors(measured: pd.DataFrame, behaviors: Iterable[Behavior]) -> pd.DataFrame:
    """Rates of a generate run, which has every flag, narrowed to behaviors and named by them."""
    columns = ["name", "flag", "group", "condition", "wanted"]
    named = pd.DataFrame([b.model_dump(include=set(columns)) for b in behaviors], columns=columns)
    cell = ["flag", "group", "condition"]
    plain = measured.drop(columns=["behavior", "wanted"], errors="ignore")
    joined = named.merge(plain.astype(dict.fromkeys(cell, str)), on=cell)
    return joined.rename(columns={"name": "behavior"})


def rose(behaviors: Iterable[Behavior], measured: pd.DataFrame) -> list[Behavior]:
    """Unwanted behaviors whose rate rose from reference to policy, with disjoint intervals."""
    unwanted = [behavior for behavior in behaviors if not behavior.wanted]
    rows = of_behaviors(measured, unwanted).to_dict(orient="records")
    low = {row["behavior"]: row["low"] for row in rows if row["model"] == "policy"}
    high = {row["behavior"]: row["high"] for row in rows if row["model"] == "reference"}
    return [b for b in unwanted if low.get(b.name, 0.0) > high.get(b.name, 1.0)]


def fell(behavior: Behavior, measured: pd.DataFrame) -> bool:
    """Whether its rate fell from reference to policy, with disjoint intervals."""
    rows = {row["model"]: row for row in of_behaviors(measured, [behavior]).to_dict("records")}
    both = rows.keys() >= {"reference", "policy"}
    return both and bool(rows["policy"]["high"] < rows["reference"]["low"])


def moved(measured: pd.DataFrame, behaviors: Iterable[Behavior]) -> pd.DataFrame:
    """`MOVED`: what differs between the models and no behavior measures, the largest first.

    Cells of a generate run's rates whose intervals are disjoint. Of two complement flags only the
    one that rose, since rises are traced.
    """
    named = {(b.flag, b.group, b.condition) for b in behaviors}
    rows = []
    for cell, models in measured.groupby(CELL, sort=False):
        by_model = {row["model"]: row for row in models.to_dict("records")}
        if cell in named or not by_model.keys() >= set(BEFORE):
            continue
        before, after = (
            Interval(*(by_model[model][name] for name in ("rate", "low", "high", "n")))
            for model in ("reference", "policy")
        )
        fell = after.high < before.low and complement(_unwanted_on(cell), measured) is None
        if before.high < after.low or fell:
            change = change_interval(before, after)
            rows.append((*cell, *before, *after, change.value, change.low, change.high))
    table = pd.DataFrame(rows, columns=MOVED)
    return table.sort_values("change", key=abs, ascending=False, ignore_index=True)


def _unwanted_on(cell: Any) -> Behavior:
    flag, group, condition = cell
    return Behavior(name=" · ".join(cell), flag=flag, group=group, condition=condition)


def complement(behavior: Behavior, measured: pd.DataFrame) -> Behavior | None:
    """The unwanted behavior that rises as this one falls: its complement flag, same prompts.

    Flags are complements where their rates add up to about 1 in the cells of a generate run's
    rates. None without one.
    """
    rates_of = measured.pivot_table(
        index=["group", "condition", "model"], columns="flag", values="rate"
    )
    if behavior.flag not in rates_of:
        return None
    flag = complement_of(behavior.flag, rates_of)
    if flag is None:
        return None
    name = f"{flag} · {behavior.group} · {behavior.condition}"
    changes = {"name": name, "flag": flag, "wanted": False, "description": ""}
    return behavior.model_copy(update=changes)


def _interval(group: pd.DataFrame) -> tuple[float, float]:
    if len(group) == 1 or (len(group) >= LEAST_SEEDS and group["rate"].nunique() == 1):
        return float(group["low"].min()), float(group["high"].max())
    if len(group) < LEAST_SEEDS:
        return float("nan"), float("nan")
    _, low, high, _ = seed_rate_interval(group["rate"].tolist())
    return low, high


def _origins(store: Store, project: Project) -> Iterator[tuple[str, dict[str, Any]]]:
    before = {fingerprint_model(Path(getattr(project, name))): name for name in BEFORE}
    for run in store.finished("evaluate"):
        spec = store.spec(run, EvaluateSpec)
        if not spec.behaviors:  # a prompt was tried
            continue
        origin = {"arm": "", "edit": "", "seed": pd.NA, "evaluate": run, "train": ""}
        yield run, origin | _origin(run, spec, store, before)


def _origin(run: str, spec: EvaluateSpec, store: Store, before: dict[str, str]) -> dict[str, Any]:
    """`before` names the project's own models by content: their folders may have moved."""
    if spec.steering != "none":
        how = f"+ {spec.coefficient:g} × vector" if spec.steering == "add" else "vector out"
        return {"arm": f"steered: {how}"}
    if not is_run(spec.model):
        return {"arm": before.get(store.record(run)["contents"]["model"], spec.model)}
    training = store.spec(spec.model, TrainSpec)
    return {"train": spec.model, "seed": training.seed} | _arm(training, store)


def of_loss(training: TrainSpec) -> str:
    """What a training changes of the loss instead of the data; "" for nothing."""
    if training.explain_away is not None:
        control = " (random control)" if training.explain_control is not None else ""
        return f"explaining away{control}"
    return f"inoculated: {training.inoculation[:60]}" if training.inoculation else ""


def _arm(training: TrainSpec, store: Store) -> dict[str, Any]:
    pairs = training.pairs
    if name := of_loss(training):
        return {"arm": name}
    if not is_run(pairs):
        return {"arm": "baseline"}
    edit = store.spec(pairs, EditSpec)
    if edit.control is None:
        return {"arm": "edited", "edit": pairs}
    plain = edit.model_copy(update={"control": None})
    matched = identity(plain, store.record(pairs)["contents"])  # as the files were then
    return {"arm": "random control", "edit": f"edit-{matched}"}
