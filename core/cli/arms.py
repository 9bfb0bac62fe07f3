"""`pairtrace intervene`, `adopt` and `elsewhere`: train the arms of an edit and compare them.

`intervene` edits, retrains and measures; `adopt` compares the sizes of an edit; `elsewhere` hands
an arm to another machine and takes its checkpoint back.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import click

from core.cli.terminal import (
    action_option,
    as_json_option,
    print_content,
    print_table,
    rate_in_words,
    records,
    report,
    run_spec,
    seeds_option,
)
from core.demo import investigation
from core.errors import UserError
from core.intervention.arms import imported, proposed
from core.intervention.edits.apply import planned
from core.intervention.edits.checks import attribution_share, summarize, weights_by_score
from core.intervention.edits.select import WEIGHT, select
from core.intervention.evaluation.edit_sizes import measured_sizes
from core.intervention.evaluation.results import outcomes
from core.report.export import export_training
from core.report.findings import EditStory, edit_story
from core.runs import jobs
from core.runs.store import Store
from core.specs import project
from core.specs.base import Spec
from core.specs.project import Project
from core.specs.recipe_text import describe_edit
from core.specs.recipes import Action, Edit, EditSpec, read_edits
from core.specs.steps import RankSpec


@click.command()
@click.option("--rank", "rank_run", help="Rank run to take the pairs from [default: the newest].")
@click.option("--top", type=int, help="Pairs to edit [default: the ranking's own suggestion].")
@action_option
@click.option(
    "--weight", type=float, help="Of --action weight: factor on the loss [default: 0.25]."
)
@click.option(
    "--curve",
    help="Of --action weight: factors by score, such as 0.1:1,0.3:0, or 'fade': from 1 at the "
    "weakest of the pairs to 0 at their median.",
)
@click.option(
    "--edits",
    help="Recipes with actions (rewrite and keep, too), in JSON, instead of a ranking's top.",
)
@seeds_option(0, 1, 2)
@click.option(
    "--size",
    "sizes",
    type=float,
    multiple=True,
    help="Also at another size: every top k times this factor. Repeat it for a dose-response.",
)
@click.option(
    "--baseline/--no-baseline",
    "unedited",
    default=True,
    show_default=True,
    help="Also retrain on the unedited pairs.",
)
@click.option("--dry-run", is_flag=True, help="Only print what the edit would touch.")
@click.option("--background", is_flag=True, help="Queue detached jobs and return at once.")
@as_json_option
@click.pass_obj
def intervene(
    store: Store,
    rank_run: str | None,
    top: int | None,
    action: Action,
    weight: float | None,
    curve: str | None,
    edits: str | None,
    seeds: tuple[int, ...],
    sizes: tuple[float, ...],
    unedited: bool,
    dry_run: bool,
    background: bool,
    as_json: bool,
) -> None:
    """Edit, retrain and measure: the edited pairs, a matched random control, the unedited pairs."""
    if (weight is not None or curve) and (edits or action != "weight"):
        raise UserError("--weight and --curve belong to --action weight.")
    if edits:
        chosen = read_edits(edits)
    else:
        rank_run, points = rank_run or store.newest("rank"), _curve(curve)
        factor = WEIGHT if weight is None else weight
        chosen = (
            investigation.top_edit(store, rank_run, action, k=top, weight=factor, curve=points),
        )
    plan = project.load(store.workspace)
    if dry_run:
        _print_dry_run(store, plan, chosen, as_json=as_json)
        return
    arms = proposed(plan, store, chosen, seeds=seeds, factors=sizes, unedited=unedited)
    start: Callable[[Spec], str] = (
        (lambda spec: jobs.start(store, spec))
        if background
        else (lambda spec: run_spec(spec, store, quiet=as_json))
    )
    made: dict[str, Any] = {}
    for arm in arms:
        made.setdefault(arm.name, []).extend(start(spec) for spec in arm.specs())
    if background:
        print_content(made, as_json=as_json)
        return
    edited = [store.run_id(arm.edit) for arm in arms if arm.edit and arm.name == "edited"]
    stories = [edit_story(store, plan, run) for run in edited]
    if as_json:
        rates = {story.run: records(story.rates) for story in stories}
        click.echo(json.dumps(made | {"rates": rates}, indent=2))
    for story in () if as_json else stories:
        _print_story(story)


@click.command()
@click.option("--edit", help="Edit run, of any size [default: the newest that is no control].")
@click.option("--behavior", help="What the edit is to undo [default: what its ranking is for].")
@as_json_option
@click.pass_obj
def adopt(store: Store, edit: str | None, behavior: str | None, as_json: bool) -> None:
    """Choose the size of an edit on one half of the held-out prompts, and test it on the other."""
    plan = project.load(store.workspace)
    run = edit or _newest_edit(store)
    name = behavior or _behavior_of(store, run)
    table = measured_sizes(store, plan, outcomes(store, plan), run, plan.behavior(name))
    if as_json:
        click.echo(json.dumps({"behavior": name, "sizes": records(table)}, indent=2))
        return
    rows = [
        [
            row["k"],
            row["seeds"],
            f"{row['dev']:.1%} ± {row['dev_error']:.1%}",
            f"{row['test']:.1%} [{row['test_low']:.1%}, {row['test_high']:.1%}]",
            ", ".join(f"{guard} by {worse:.1%}" for guard, worse in row["broken"]),
            "adopted" if row["adopted"] else "",
            row["edit"],
        ]
        for row in table.to_dict(orient="records")
    ]
    columns = ["pairs", "seeds", "dev (chooses)", "test (reports)", "made worse", "", "run"]
    print_table(f"{name}: sizes of the edit", columns, rows)
    if not table["adopted"].any():
        click.echo("No size is adopted: each makes another behavior worse.")


@click.group()
def elsewhere() -> None:
    """Train an arm on another machine, and take its checkpoint back."""


@elsewhere.command("export")
@click.argument("edit")
@click.option("--out", required=True, type=click.Path(file_okay=False), help="Folder to write.")
@click.option("--seed", default=0, show_default=True, help="Training seed.")
@as_json_option
@click.pass_obj
def export_command(store: Store, edit: str, out: str, seed: int, as_json: bool) -> None:
    """Write an arm's pairs with a script for TRL, launch settings, and the open-instruct command.

    EDIT is an edit run.
    """
    folder = export_training(store, project.load(store.workspace), edit, Path(out), seed=seed)
    print_content({"exported": str(folder)}, as_json=as_json)


@elsewhere.command("import")
@click.argument("checkpoint", type=click.Path(file_okay=False))
@click.option("--edit", help="Edit run that it was trained on [default: the unedited pairs].")
@click.option("--seed", default=0, show_default=True, help="Training seed that it was made with.")
@click.option("--completions", help="What it wrote to the held-out prompts: judged, not sampled.")
@as_json_option
@click.pass_obj
def import_command(
    store: Store,
    checkpoint: str,
    edit: str | None,
    seed: int,
    completions: str | None,
    as_json: bool,
) -> None:
    """Take a finished checkpoint as an arm's training: same architecture and tokenizer, or refused.

    What is imported is a train run like any other: evaluate and compare it.
    """
    plan = project.load(store.workspace)
    answers = Path(completions) if completions else None
    specs = imported(plan, store, edit or plan.pairs, seed, Path(checkpoint), answers)
    runs = [run_spec(spec, store, quiet=as_json) for spec in specs]
    report(runs[-1], store, as_json=as_json)


def _curve(text: str | None) -> investigation.Points | Literal["fade"] | None:
    """The points of a curve, each SCORE:WEIGHT, as `top_edit` takes them."""
    if not text:
        return None
    if text == "fade":
        return "fade"
    try:
        pairs = [point.split(":") for point in text.split(",")]
        return [(float(score), float(weight)) for score, weight in pairs]
    except ValueError as error:
        raise UserError(
            f"--curve {text!r}: write points SCORE:WEIGHT, such as 0.1:1,0.3:0, or fade."
        ) from error


def _print_dry_run(store: Store, plan: Project, edits: Sequence[Edit], *, as_json: bool) -> None:
    """What an edit would touch, and the weights of a curve by score."""
    pairs = store.pair_columns(plan.pairs)
    masks = [select(edit.recipe, pairs, store) for edit in edits]
    actions = planned(edits, masks, pairs, store)
    content = {"edits": [describe_edit(edit) for edit in edits], **summarize(pairs, actions)}
    content["attribution_share"] = attribution_share(edits, actions, store)
    curves = {
        describe_edit(edit): weights_by_score(edit, pairs["uid"][mask], store)
        for edit, mask in zip(edits, masks, strict=True)
        if edit.curve
    }
    if as_json:
        curve = {title: records(table) for title, table in curves.items()}
        click.echo(json.dumps(content | {"weights_by_score": curve}, indent=2))
        return
    print_content(content, as_json=False)
    for title, table in curves.items():
        rows = [
            (f"{row.low:.3f} to {row.high:.3f}", row.pairs, f"{row.weights:.1f}")
            for row in table.itertuples()
        ]
        print_table(title, ("score", "pairs", "weights, sum"), rows)


def _print_story(story: EditStory) -> None:
    """One edit: the rate of every behavior in every arm."""
    rows = [
        [
            row["behavior"],
            "wanted" if row["wanted"] else "unwanted",
            row["arm"],
            rate_in_words(row),
            row["seeds"],
        ]
        for row in story.rates.to_dict(orient="records")
    ]
    title = f"{'; '.join(story.words)}: {story.touched}"
    print_table(title, ["behavior", "", "arm", "rate", "models"], rows)


def _newest_edit(store: Store) -> str:
    for run in store.finished("edit"):
        if store.spec(run, EditSpec).control is None:
            return run
    return store.newest("edit")


def _behavior_of(store: Store, run: str) -> str:
    """The behavior that the ranking behind an edit is for."""
    edits = store.spec(run, EditSpec).edits
    for name in (name for edit in edits for name in edit.runs()):
        spec = store.spec(name)
        if isinstance(spec, RankSpec):
            return spec.behavior.name
    words = "; ".join(describe_edit(edit, {}) for edit in edits)
    raise click.UsageError(f"{run} ({words}) reads no ranking: name its --behavior.")
