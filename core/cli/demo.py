"""`pairtrace demo` and `pairtrace intervene`: the commands that chain steps."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from core import environment
from core.cli.terminal import as_json_option, print_content, print_table, records, run_spec
from core.demo import investigation
from core.intervention.arms import proposed
from core.report.findings import EditStory, edit_story
from core.runs import jobs
from core.runs.store import Store
from core.specs import project
from core.specs.base import Spec
from core.specs.recipes import Action, read_edits

ROOT = Path(__file__).parents[2]


@click.command("demo")
@click.option("--headless", is_flag=True, help="Retrain as well, print the result, no browser.")
@click.option(
    "--action",
    type=click.Choice(["remove", "flip"]),
    default="flip",
    show_default=True,
    help="What to do to the pairs: leave them out, or swap chosen and rejected.",
)
@click.option(
    "--seed",
    "seeds",
    type=int,
    multiple=True,
    default=(0,),
    help="Training seeds, one retraining per arm each.",
)
@click.option("--port", default=8501, show_default=True, help="Port of the app.")
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
        serve(store, port)
        return
    result = investigation.prove(store, run, action=action, seeds=seeds)
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        _print_demo(result)


@click.command()
@click.option("--rank", "rank_run", help="Rank run to take the pairs from [default: the newest].")
@click.option("--top", type=int, help="Pairs to edit [default: the ranking's own suggestion].")
@click.option(
    "--action",
    type=click.Choice(["remove", "flip"]),
    default="flip",
    show_default=True,
    help="What to do to the pairs: leave them out, or swap chosen and rejected.",
)
@click.option("--edits", help="Recipes with actions, in JSON, instead of a ranking's top.")
@click.option(
    "--seed",
    "seeds",
    type=int,
    multiple=True,
    default=(0, 1, 2),
    show_default=True,
    help="Training seeds, one retraining per arm each.",
)
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
@click.option("--background", is_flag=True, help="Queue detached jobs and return at once.")
@as_json_option
@click.pass_obj
def intervene(
    store: Store,
    rank_run: str | None,
    top: int | None,
    action: Action,
    edits: str | None,
    seeds: tuple[int, ...],
    sizes: tuple[float, ...],
    unedited: bool,
    background: bool,
    as_json: bool,
) -> None:
    """Edit, retrain and measure: the edited pairs, a matched random control, the unedited pairs."""
    if edits:
        chosen = read_edits(edits)
    else:
        rank_run = rank_run or store.newest("rank")
        chosen = (investigation.top_edit(store, rank_run, action, k=top),)
    plan = project.load(store.workspace)
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


def serve(store: Store, port: int) -> None:
    """Hand over to Streamlit."""
    environment.refuse_trust("The app")
    store.workspace.mkdir(parents=True, exist_ok=True)
    words = ["-m", "streamlit", "run", str(ROOT / "app.py"), "--server.port", str(port)]
    os.chdir(ROOT)  # .streamlit/config.toml lies there
    os.execv(sys.executable, [sys.executable, *words])


def _print_story(story: EditStory) -> None:
    """One edit: the rate of every behavior in every arm."""
    rows = []
    for row in story.rates.to_dict(orient="records"):
        interval = f"[{row['low']:.1%}, {row['high']:.1%}]" if row["low"] == row["low"] else ""
        wish = "wanted" if row["wanted"] else "unwanted"
        rows.append(
            [row["behavior"], wish, row["arm"], f"{row['rate']:.1%} {interval}", row["seeds"]]
        )
    title = f"{'; '.join(story.words)}: {story.touched}"
    print_table(title, ["behavior", "", "arm", "rate", "models"], rows)


def _print_demo(result: dict[str, Any]) -> None:
    """Rates of every behavior in reference, policy and arms; then cost and places."""
    names = [entry["behavior"] for entry in result["rates"]["reference"][0]["behaviors"]]
    rows = [
        [arm, *(f"{b['rate']:.1%} [{b['low']:.1%}, {b['high']:.1%}]" for b in one["behaviors"])]
        for arm, measured in result["rates"].items()
        for one in measured
    ]
    print_table(f"Undoing {result['behavior']}", ["model", *names], rows)
    costs = result["cpu_seconds"].items()
    places = result["runs"]
    rows = [[name, f"{seconds:.1f}", places[name]] for name, seconds in costs]
    print_table("Runs", ["step", "CPU-seconds", "folder"], rows)
