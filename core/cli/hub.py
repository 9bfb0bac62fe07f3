"""`pairtrace fetch` and `pairtrace presets`: published checkpoints and the settings for them."""

import json
from pathlib import Path

import click

from core import environment
from core.cli.terminal import as_json_option, print_content, print_table
from core.runs.store import Store
from core.workspace import presets


@click.command("fetch")
@click.argument("name")
@click.option("--revision", required=True, help="Full commit hash (40 digits), never a branch.")
@click.option("--dataset", "kind", flag_value="dataset", help="It is a data set, not a model.")
@click.option("--model", "kind", flag_value="model", default=True, help="It is a model [default].")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write [default: inputs/NAME in the workspace].",
)
@as_json_option
@click.pass_obj
def fetch_command(
    store: Store, name: str, revision: str, kind: str, out: Path | None, as_json: bool
) -> None:
    """Fetch a model or data set from the Hugging Face hub, at one commit.

    The only command that asks another machine for anything that was not configured. Weights come
    as safetensors only; pickles are never fetched, code only with `pairtrace --trust-remote-code`.
    """
    from core.models.hub import Kind, fetch

    folder = out or store.workspace / "inputs" / name.rpartition("/")[2]
    what: Kind = "dataset" if kind == "dataset" else "model"
    made = fetch(what, name, revision, folder, code=environment.trusts_code())
    (made / "pairtrace-origin.txt").write_text(f"{kind} {name} {revision}\n", encoding="utf-8")
    print_content({"fetched": str(made)}, as_json=as_json)


@click.command("presets")
@click.argument("name", required=False)
@as_json_option
def presets_command(name: str | None, as_json: bool) -> None:
    """Published post-trainings with their settings, and where the paper's differ from ours."""
    chosen = [presets.preset(name)] if name else list(presets.PRESETS.values())
    if as_json:
        known = {one.name: {**vars(one), "paper": presets.knobs(one, "paper")} for one in chosen}
        click.echo(json.dumps(known, indent=2))
        return
    for one in chosen:
        rows = [(what, *place) for what, place in one.repositories().items()]
        print_table(f"{one.name}: layer {one.layer} of {one.blocks}", ("", "kind", "name"), rows)
        click.echo(f"{one.note}\n")
    if name:
        for kind, repository in chosen[0].repositories().values():
            click.echo(f"pairtrace fetch {repository} --{kind} --revision COMMIT")
        click.echo(
            f"pairtrace init --preset {name} --prompts FILE --heldout FILE --judge JUDGE …\n"
        )
    columns = ("", "ours", "the paper's (--compat paper, where it can be set)")
    print_table("Where we differ", columns, presets.DIFFERENCES)
