"""The content of a report, read from finished runs: tables of text and numbers, no layout.

Nothing is computed again but the verdicts. A part whose runs are not finished is empty.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from core.errors import UserError
from core.intervention.edits.checks import in_words
from core.intervention.edits.predict import against_measured, attributions, undone
from core.intervention.evaluation.results import by_arm, of_behaviors, outcomes
from core.intervention.evaluation.verdict import Verdict, verdict
from core.report.quotes import cut, on_map, quotes, relative
from core.runs import commands
from core.runs.store import Store
from core.specs import project
from core.specs.project import Project
from core.specs.recipe_text import describe_edit
from core.specs.recipes import EditSpec
from core.specs.steps import CheckSpec, RankSpec
from core.storage.tables import record, table
from core.workspace.catalog import Catalog

MODELS = ("reference", "policy")
SHOWN_VERSIONS = ("python", "torch", "transformers", "trl")
CUT_COMMAND = 4_000
EDITS = 20  # in detail, the newest


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
    verdict: Verdict | None = None


@dataclass(frozen=True)
class Story:
    """The whole report."""

    project: Project
    changes: pd.DataFrame  # behavior, wanted, model, rate, low, high, n
    rankings: pd.DataFrame  # behavior, layer, prompts, suggested pairs, verdict
    edits: list[EditStory]  # the one that the report is about first
    predictions: pd.DataFrame  # of ranked behaviors, as `against_measured` gives it
    environment: pd.DataFrame  # run, commit, torch, CPU-seconds
    author: str = ""
    date: str = ""
    advice: list[str] = field(default_factory=list)  # of the check of the pairs
    pairs: list[dict[str, Any]] = field(default_factory=list)  # prompt, chosen, rejected, source
    pairs_of: str = ""  # the behavior that they rank highest for
    cause: str = ""  # where the suggested pairs come from
    example: dict[str, str] = field(default_factory=dict)  # prompt, before, after
    points: dict[str, Any] = field(default_factory=dict)  # x, y, c, t, e, names, sample
    clusters: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def headline(self) -> str:
        """The verdict on the first edit, or how far the investigation is."""
        first = self.edits[0].verdict if self.edits else None
        if first:
            return first.headline()
        return "Nothing is proven yet: no edit was trained on and measured."


def gather(store: Store, *, edit: str = "", author: str = "") -> Story:
    """Read the workspace; the report is about `edit`, or about the newest that is measured.

    Raises `UserError` where the workspace has no project, or no such edit is finished.
    """
    plan = project.load(store.workspace)
    measured = outcomes(store, plan)
    generated = store.finished("generate")
    runs = _edits(store)
    if edit and edit not in runs:
        raise UserError(f"{edit}: no such edit run is finished. There are: {', '.join(runs)}.")
    tried = set(measured.loc[measured["arm"] == "edited", "edit"])
    runs.sort(key=lambda run: (run != edit, run not in tried))
    stories = [_edit(store, plan, run, measured) for run in runs[:EDITS]]
    story = Story(
        project=plan,
        changes=_changes(store, plan, generated[0]) if generated else pd.DataFrame(),
        rankings=pd.DataFrame([_ranking(store, run) for run in store.finished("rank")]),
        edits=stories,
        predictions=_predictions(store, plan, measured),
        environment=pd.DataFrame([_cost(store, info.id) for info in store.infos(state="finished")]),
        author=author or ", ".join(_people(store)),
        date=datetime.now(UTC).date().isoformat(),
        advice=pairs_advice(store, plan),
    )
    first = stories[0] if stories else None
    aim = first.verdict.behavior if first and first.verdict else None
    run, seeds = (first.run, first.seeds) if first else ("", pd.DataFrame())
    return replace(story, **quotes(store, run, seeds, aim), **on_map(store, run))


def edit_story(store: Store, plan: Project, run: str) -> EditStory:
    """One edit run alone."""
    return _edit(store, plan, run, outcomes(store, plan))


def pairs_advice(store: Store, plan: Project) -> list[str]:
    """What the newest check of the project's pairs found; nothing where none is finished."""
    for run in store.finished("check"):
        if store.spec(run, CheckSpec).pairs == plan.pairs:
            return list(record(store.output(run) / "summary.json")["advice"])
    return []


def _people(store: Store) -> list[str]:
    """Who changed anything here, in the order of the log."""
    if not (store.workspace / "catalog.sqlite").is_file():
        return []
    events = Catalog(store.workspace, writable=False).events()
    return list(dict.fromkeys(cut(event.who, 80) for event in events))[:5]


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


def _edit(store: Store, plan: Project, run: str, measured: pd.DataFrame) -> EditStory:
    spec = store.spec(run, EditSpec)
    summary = record(store.output(run) / "summary.json")
    compared = (measured["edit"] == run) | measured["arm"].isin([*MODELS, "baseline"])
    rows = measured[compared]
    trained = sorted({*rows["train"], *rows["evaluate"]} - {""})
    aim = _aim(store, plan, run)
    return EditStory(
        run=run,
        words=[describe_edit(edit, _behaviors(store)) for edit in spec.edits],
        touched=f"{in_words(summary)}, of {summary['n_pairs'] + summary['n_removed']} pairs",
        recipes=cut("[" + ",".join(e.model_dump_json() for e in spec.edits) + "]", CUT_COMMAND),
        rates=by_arm(rows),
        seeds=rows,
        commands=[
            cut(relative(commands.command(store.spec(r), store), store), CUT_COMMAND)
            for r in [run, *trained]
        ],
        verdict=verdict(store, rows, plan.behavior(aim), plan.behaviors) if aim else None,
    )


def _aim(store: Store, plan: Project, run: str) -> str:
    """The behavior whose ranking an edit reads, or that it touches most; "" for none."""
    names = {behavior.name for behavior in plan.behaviors}
    reads = [run for edit in store.spec(run, EditSpec).edits for run in edit.runs()]
    ranked = [_behaviors(store).get(read) for read in reads]
    for name in ranked:
        if name in names:
            return name
    actions = table(store.output(run) / "actions.parquet")
    shares = {
        a.behavior.name: abs(undone(a.values, actions))
        for a in attributions(store, plan)
        if a.run.startswith("rank-")
    }
    return max(shares, key=shares.__getitem__, default="")


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
