"""The content of a report, read from finished runs: tables of text and numbers, no layout.

Nothing is computed again. A part whose runs are not finished is empty.
"""

from dataclasses import dataclass

import pandas as pd

from core.intervention.edits.predict import against_measured
from core.intervention.evaluation.results import by_arm, of_behaviors, outcomes
from core.runs import commands
from core.runs.store import Store
from core.specs import project
from core.specs.project import Project
from core.specs.recipes import describe_edit
from core.specs.steps import EditSpec, RankSpec
from core.storage.tables import record, table

MODELS = ("reference", "policy")
SHOWN_VERSIONS = ("python", "torch", "transformers", "trl")


@dataclass(frozen=True)
class EditStory:
    """One edit: what was done to which pairs, and what every arm measured afterwards."""

    run: str
    words: list[str]
    touched: str
    recipes: str  # JSON, as `pairtrace edit --edits` takes it
    rates: pd.DataFrame  # behavior, wanted, arm, rate, low, high, n, seeds
    seeds: pd.DataFrame  # the same per retraining, as `outcomes` gives it
    commands: list[str]


@dataclass(frozen=True)
class Story:
    """The whole report."""

    project: Project
    changes: pd.DataFrame  # behavior, wanted, model, rate, low, high, n
    rankings: pd.DataFrame  # behavior, layer, prompts, suggested pairs, verdict
    edits: list[EditStory]
    predictions: pd.DataFrame  # of ranked behaviors, as `against_measured` gives it
    environment: pd.DataFrame  # run, commit, torch, CPU-seconds


def gather(store: Store) -> Story:
    """Read the workspace. Raises `UserError` where it has no project."""
    plan = project.load(store.workspace)
    measured = outcomes(store, plan)
    generated = store.finished("generate")
    return Story(
        project=plan,
        changes=_changes(store, plan, generated[0]) if generated else pd.DataFrame(),
        rankings=pd.DataFrame([_ranking(store, run) for run in store.finished("rank")]),
        edits=[_edit(store, run, measured) for run in _edits(store)],
        predictions=_predictions(store, plan, measured),
        environment=pd.DataFrame([_cost(store, info.id) for info in store.infos(state="finished")]),
    )


def edit_story(store: Store, plan: Project, run: str) -> EditStory:
    """One edit run alone."""
    return _edit(store, run, outcomes(store, plan))


def _changes(store: Store, plan: Project, run: str) -> pd.DataFrame:
    return of_behaviors(table(store.output(run) / "rates.parquet"), plan.behaviors)


def _ranking(store: Store, run: str) -> dict[str, object]:
    summary = record(store.output(run) / "summary.json")
    return {
        "behavior": summary["behavior"],
        "layer": summary["layer"],
        "prompts": f"{summary['n_prompts_passed']} of {summary['n_prompts']}",
        "suggested pairs": summary["suggested_k"],
        "verdict": summary["verdict"],
        "concentration": summary.get("concentration", {}).get("evidence", "not measured"),
        "run": run,
    }


def _edits(store: Store) -> list[str]:
    """Finished edit runs that are no control, newest first."""
    return [r for r in store.finished("edit") if store.spec(r, EditSpec).control is None]


def _edit(store: Store, run: str, measured: pd.DataFrame) -> EditStory:
    spec = store.spec(run, EditSpec)
    summary = record(store.output(run) / "summary.json")
    compared = (measured["edit"] == run) | measured["arm"].isin([*MODELS, "baseline"])
    rows = measured[compared]
    trained = sorted({*rows["train"], *rows["evaluate"]} - {""})
    return EditStory(
        run=run,
        words=[describe_edit(edit, _behaviors(store)) for edit in spec.edits],
        touched=f"{summary['n_removed']} removed, {summary['n_flipped']} flipped, "
        f"of {summary['n_pairs'] + summary['n_removed']} pairs",
        recipes="[" + ",".join(edit.model_dump_json() for edit in spec.edits) + "]",
        rates=by_arm(rows),
        seeds=rows,
        commands=[commands.command(store.spec(r), store) for r in [run, *trained]],
    )


def _predictions(store: Store, plan: Project, measured: pd.DataFrame) -> pd.DataFrame:
    table = against_measured(store, plan, measured)
    return table[table["read from"].str.startswith("rank-")] if len(table) else table


def _behaviors(store: Store) -> dict[str, str]:
    """Rank run → the behavior that it ranks for."""
    return {run: store.spec(run, RankSpec).behavior.name for run in store.finished("rank")}


def _cost(store: Store, run: str) -> dict[str, object]:
    record = store.record(run)
    provenance = record["provenance"]
    versions = provenance["versions"] | {"python": provenance["python"]}
    return {
        "run": run,
        "commit": provenance["git_commit"][:12],
        **{name: versions.get(name, "") for name in SHOWN_VERSIONS},
        "CPU-seconds": record["cost"]["cpu_seconds"],
        "device": record["cost"]["device"],
    }
