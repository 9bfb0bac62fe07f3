"""`pairtrace adopt` and `pairtrace elsewhere`: what to do with arms that are trained, or are not.

`adopt` compares the sizes of an edit; `elsewhere` hands an arm to another machine and takes its
checkpoint back.
"""

import json
from pathlib import Path

import click

from core.cli.terminal import as_json_option, print_content, print_table, records, report, run_spec
from core.intervention.evaluation.edit_sizes import measured_sizes
from core.intervention.evaluation.results import outcomes
from core.report.export_training import export_training
from core.runs.store import Store
from core.specs import project
from core.specs.recipes import describe_edit
from core.specs.steps import EditSpec, RankSpec


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
    shown = [
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
    print_table(f"{name}: sizes of the edit", columns, shown)
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
    made = export_training(store, project.load(store.workspace), edit, Path(out), seed=seed)
    print_content({"exported": str(made)}, as_json=as_json)


@elsewhere.command("import")
@click.argument("checkpoint", type=click.Path(file_okay=False))
@click.option("--edit", help="Edit run that it was trained on [default: the unedited pairs].")
@click.option("--seed", default=0, show_default=True, help="Training seed that it was made with.")
@as_json_option
@click.pass_obj
def import_command(
    store: Store, checkpoint: str, edit: str | None, seed: int, as_json: bool
) -> None:
    """Take a finished checkpoint as an arm's training: same architecture and tokenizer, or refused.

    What is imported is a train run like any other: evaluate and compare it.
    """
    plan = project.load(store.workspace)
    folder = str(Path(checkpoint).expanduser().resolve())
    spec = plan.train(edit or plan.pairs, seed).model_copy(update={"checkpoint": folder})
    report(run_spec(spec, store, quiet=as_json), store, as_json=as_json)


def _newest_edit(store: Store) -> str:
    for run in store.finished("edit"):
        if store.spec(run, EditSpec).control is None:
            return run
    return store.newest("edit")


def _behavior_of(store: Store, run: str) -> str:
    spec = store.spec(run, EditSpec)
    ranked = [store.spec(name) for edit in spec.edits for name in edit.recipe.runs()]
    for one in ranked:
        if isinstance(one, RankSpec):
            return one.behavior.name
    words = "; ".join(describe_edit(edit, {}) for edit in spec.edits)
    raise click.UsageError(f"{run} ({words}) reads no ranking: name its --behavior.")
