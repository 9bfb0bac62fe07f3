"""`pairtrace demo`, `app` and `organism`: the embedded model organism, and the browser app."""

import json
from pathlib import Path
from typing import Any

import click

from core.cli.serve import LOCAL, serve
from core.cli.terminal import (
    action_option,
    as_json_option,
    bar,
    print_content,
    print_table,
    rate_in_words,
    run_spec,
    seeds_option,
)
from core.demo import investigation
from core.runs.progress import Progress
from core.runs.store import Store
from core.specs.base import Spec
from core.specs.recipes import Action

port_option = click.option("--port", default=8501, show_default=True, help="Port of the app.")
world_option = click.option(
    "--world", required=True, type=click.Path(dir_okay=False), help="World file (TOML)."
)


@click.command("demo")
@click.option("--headless", is_flag=True, help="Retrain as well, print the result, no browser.")
@action_option
@seeds_option(0)
@port_option
@as_json_option
@click.pass_obj
def demo_command(
    store: Store, headless: bool, action: Action, seeds: tuple[int, ...], port: int, as_json: bool
) -> None:
    """Run the main job on the embedded organism, then open the app (or, headless, retrain)."""

    def run(spec: Spec) -> str:
        return run_spec(spec, store, quiet=as_json)

    if not headless:
        investigation.investigate(store, run)
        serve([store.workspace], port)
        return
    result = investigation.prove(store, run, action=action, seeds=seeds)
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        _print_demo(result)


@click.command()
@click.argument(
    "folders", metavar="[FOLDER]…", nargs=-1, type=click.Path(file_okay=False, path_type=Path)
)
@port_option
@click.option("--address", default=LOCAL, show_default=True, help="Address to listen on.")
@click.pass_obj
def app(store: Store, folders: tuple[Path, ...], port: int, address: str) -> None:
    """Open the browser app on the workspace, or on several.

    The sidebar switches between them. With neither logins nor an open address, it also offers the
    workspaces that you opened before.
    """
    resolved = [folder.expanduser().resolve() for folder in folders]
    serve(resolved or [store.workspace], port, address)


@click.group()
def organism() -> None:
    """The embedded model organism: a tiny OLMo 2 with planted behaviors."""


@organism.command("build")
@world_option
@click.option("--out", required=True, type=click.Path(file_okay=False), help="Folder to write.")
@click.option("--seed", type=int, help="Seed [default: the world file's].")
@click.option("--fast", is_flag=True, help="A smaller one, for tests, in under a minute.")
@as_json_option
def build_organism(world: str, out: str, seed: int | None, fast: bool, as_json: bool) -> None:
    """Build models, pairs, prompts and truth from a world file."""
    from core.demo import organism as organism_demo

    with bar("organism", shown=not as_json) as listen:
        folder = organism_demo.build(
            Path(world), Path(out), seed=seed, fast=fast, progress=Progress(listen=listen)
        )
    print_content({"organism": str(folder)}, as_json=as_json)


@organism.command("vary")
@click.argument("variant", required=True)
@world_option
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="World file to write.")
@as_json_option
def vary_world(variant: str, world: str, out: str, as_json: bool) -> None:
    """Derive another world: other words, mixes, decoys, noise, trigger or contamination."""
    from core.organism.variants import write_variant

    print_content({"world": str(write_variant(world, variant, out))}, as_json=as_json)


def _print_demo(result: dict[str, Any]) -> None:
    """Rates of every behavior in reference, policy and arms; then costs and folders."""
    names = [entry["behavior"] for entry in result["rates"]["reference"][0]["behaviors"]]
    rows = [
        [arm, *map(rate_in_words, measurement["behaviors"])]
        for arm, measurements in result["rates"].items()
        for measurement in measurements
    ]
    print_table(f"Undoing {result['behavior']}", ["model", *names], rows)
    folders = result["runs"]
    rows = [[name, f"{cost:.1f}", folders[name]] for name, cost in result["cpu_seconds"].items()]
    print_table("Runs", ["step", "CPU-seconds", "folder"], rows)
