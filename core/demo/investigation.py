"""The demo's steps on an embedded organism, from prompts to retrained arms.

It adds no computation: every step is a run of its own that could have been started from the shell
or from the browser.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import Field

from core.errors import UserError
from core.intervention.arms import Arm, edited_and_control, imported
from core.intervention.edits.select import WEIGHT, fading, method_of, scores
from core.intervention.edits.votes import relabel_by
from core.intervention.evaluation.results import rose
from core.runs.store import Store
from core.specs import project
from core.specs.base import Record, Spec
from core.specs.project import Project
from core.specs.recipes import Action, Edit, EditSpec, TopK, edit_of
from core.specs.steps import ExplainSpec, RankSpec
from core.storage.parse import json_file
from core.storage.tables import record
from core.storage.tables import table as read_table

ORGANISM = Path(__file__).parents[2] / "assets" / "organism"
SMOLLM2 = Path(__file__).parents[2] / "assets" / "smollm2"
ORGANISMS = {"tiny": ORGANISM, "smollm2": SMOLLM2}
ARMS = "arms/arms.json"  # in an organism's folder

Points = Sequence[tuple[float, float]]  # score and weight, of a curve
Runner = Callable[[Spec], str]  # finishes the run of a spec and returns its id


def open_project(store: Store, folder: Path = ORGANISM) -> Project:
    """The workspace's project; a new workspace starts from the organism in `folder`."""
    organism = project.load(folder)
    if not (store.workspace / project.FILE).exists():
        project.save(organism, store.workspace)
    opened = project.load(store.workspace)
    if opened.name != organism.name:
        raise UserError(
            f"{store.workspace} holds the project {opened.name!r}. "
            "Give the demo a folder of its own: pairtrace --workspace FOLDER demo"
        )
    return opened


def investigate(store: Store, run: Runner, organism: Path = ORGANISM) -> dict[str, str]:
    """Run every step but retraining; run ids by a readable name."""
    plan = open_project(store, organism)
    generated = run(plan.generate())
    indexed = run(plan.index())
    runs = {"generate": generated, "index": indexed}
    for behavior in rose(plan.behaviors, rates(store, generated)):
        runs[f"rank: {behavior.name}"] = run(plan.rank(generated, indexed, behavior))
        runs[f"explain: {behavior.name}"] = run(ExplainSpec(rank=runs[f"rank: {behavior.name}"]))
    runs["discover"] = run(plan.discover(generated, indexed))
    for name, model in (("reference", plan.reference), ("policy", plan.policy)):
        runs[f"evaluate: {name}"] = run(plan.evaluate(model))
    return runs


class FinishedArm(Record):
    """An arm that was trained and sampled before; its files are beside `ARMS`."""

    edits: tuple[Edit, ...]
    control: int | None = None
    seed: int
    checkpoint: str = Field(description="model folder, or adapter")
    completions: str = Field(description="of the held-out prompts")


def import_arms(store: Store, run: Runner, organism: Path) -> list[str]:
    """Import the arms that an organism is shipped with; ids of their evaluate runs.

    What each was computed on, and when, is in the same file, which people read.
    """
    path, plan, runs = organism / ARMS, project.load(store.workspace), []
    arms = json_file(path)["arms"] if path.is_file() else []
    for arm in map(FinishedArm.model_validate, arms):
        edit = EditSpec(edits=arm.edits, control=arm.control, pairs=plan.pairs, judge=plan.judge)
        files = path.parent / arm.checkpoint, path.parent / arm.completions
        runs.append([*map(run, imported(plan, store, run(edit), arm.seed, *files))][-1])
    return runs


def prove(
    store: Store, run: Runner, *, action: Action, seeds: Sequence[int], organism: Path = ORGANISM
) -> dict[str, Any]:
    """Edit, retrain and evaluate for the first behavior that rose; rates, costs and runs."""
    runs = investigate(store, run, organism)
    behavior, edit, arms = proof(store, runs, action=action, seeds=seeds)
    measured = {name: [runs[f"evaluate: {name}"]] for name in ("reference", "policy")}
    for arm in arms:
        for spec in arm.specs():
            runs[f"{arm.name}: {spec.step} {getattr(spec, 'seed', '')}".rstrip()] = run(spec)
        measured[arm.name] = [store.run_id(spec) for spec in arm.evaluations]
    return {
        "behavior": behavior,
        "edit": edit.model_dump(mode="json"),
        "rates": {name: _rates_of(store, ids) for name, ids in measured.items()},
        "cpu_seconds": {name: store.record(i)["cost"]["cpu_seconds"] for name, i in runs.items()},
        "runs": {name: str(store.folder(i)) for name, i in runs.items()},
    }


def proof(
    store: Store, runs: Mapping[str, str], *, action: Action, seeds: Sequence[int]
) -> tuple[str, Edit, list[Arm]]:
    """The first behavior that rose, the edit of its suggested pairs, and its arms.

    `runs` are those of `investigate`. `UserError` where no unwanted behavior rose.
    """
    plan = project.load(store.workspace)
    behavior = next(iter(rose(plan.behaviors, rates(store, runs["generate"]))), None)
    if behavior is None:
        raise UserError("No unwanted behavior rose between reference and policy: nothing to undo.")
    edit = top_edit(store, runs[f"rank: {behavior.name}"], action)
    return behavior.name, edit, edited_and_control(plan, store, [edit], seeds=seeds)


def top_edit(
    store: Store,
    rank: str,
    action: Action,
    *,
    k: int | None = None,
    weight: float = WEIGHT,
    curve: Points | Literal["fade"] | None = None,
) -> Edit:
    """The top k pairs of a ranking as an edit; `k` None: as many as the ranking suggests.

    `weight` and `curve` are what weighting gives them: one factor, factors by score, or `fade`
    (`select.fading`). Relabelling is by the flag of the ranking's behavior.
    """
    if k is None:
        k = record(store.output(rank) / "summary.json")["suggested_k"]
    if not k:
        raise UserError(f"{rank} suggests no pairs to edit. Choose a number with --top.")
    recipe = TopK(rank=rank, k=k, score=method_of(rank, store))
    detail: dict[str, Any] = {}
    if action == "relabel":
        name = store.spec(rank, RankSpec).behavior.name
        detail["relabel"] = relabel_by(project.load(store.workspace).behaviors, {name})
        if detail["relabel"] is None:
            raise UserError("relabel: no behavior has a flag that a judge could vote by. Add one.")
    elif action == "weight" and curve == "fade":
        detail["curve"] = fading(rank, scores(rank, store).index[:k], store)
    elif action == "weight":
        detail |= {"curve": {"rank": rank, "points": curve}} if curve else {"weight": weight}
    return edit_of(action, recipe, f"top {k} of {rank}", **detail)


def rates(store: Store, run: str) -> pd.DataFrame:
    """rates.parquet of a generate or evaluate run."""
    return read_table(store.output(run) / "rates.parquet")


def _rates_of(store: Store, evaluations: Sequence[str]) -> list[dict[str, Any]]:
    """Rate, interval and n of every behavior, one record per evaluation."""
    columns = ["behavior", "rate", "low", "high", "n", "n_unscored", "n_prompts"]
    return [
        {"run": run, "behaviors": rates(store, run)[columns].to_dict(orient="records")}
        for run in evaluations
    ]
