"""`pairtrace selftest` and `bench`: test a model; run a benchmark, or all that a page shows.

`bench all` runs each benchmark in a child process, so that none inherits another's caches or
threads, and writes one file with date and kind of machine.
"""

import importlib
import inspect
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from core.attribution import selftest as models
from core.cli.terminal import as_json_option, print_content, print_table
from core.demo.investigation import ORGANISM
from core.errors import UserError
from core.report import bench_results
from core.runs import hashing
from core.runs.store import Store
from core.specs import project
from core.storage.atomic import write_atomic

FOLDER = Path(__file__).parents[2] / "benchmarks"


@click.command()
@click.option("--model", help="Model folder [default: the project's reference, or the organism's].")
@click.option("--pairs", help="Pairs that are read [default: the project's, or the organism's].")
@click.option("--layer", type=click.IntRange(0), help="Layer that is read [default: the last].")
@click.option(
    "-n",
    "count",
    type=click.IntRange(1),
    default=models.PAIRS,
    show_default=True,
    help="Pairs that are read.",
)
@click.option(
    "--dtype",
    "dtypes",
    type=click.Choice([*models.ERRORS]),
    multiple=True,
    default=("float32", "bfloat16"),
    show_default=True,
    help="Arithmetic that is tested; may be given several times.",
)
@as_json_option
@click.pass_obj
def selftest(
    store: Store,
    model: str | None,
    pairs: str | None,
    layer: int | None,
    count: int,
    dtypes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Test whether a model gives the same vectors however it is read; exit status 1 if not.

    Packed against plain pass, pairs together against each alone, twice the same pass, and
    bfloat16 against float32. An index does so, on 8 pairs, with a model that is new here.
    """
    from core.attribution.index.build import sample_items  # torch, as reading the settings
    from core.models.loading import read_config

    plan = project.load(store.workspace) if (store.workspace / project.FILE).exists() else None
    default = plan or project.load(ORGANISM)
    folder = store.model(model or default.reference)
    items = sample_items(folder, store.pair_columns(pairs or default.pairs), count)
    last = read_config(folder).num_hidden_layers - 1
    if layer is not None and layer > last:
        raise UserError(f"--layer {layer}: the last layer of {folder} is {last}.")
    read = last if layer is None else layer
    checks = models.selftest(folder, items, [read], dtypes=dtypes)
    models.keep(store.workspace / "cache", hashing.fingerprint_model(folder), checks)
    passed = all(check.passed for check in checks)
    content = {"model": str(folder), "layer": read, "pairs": len(items)}
    rows = [asdict(check) for check in checks]
    if as_json:
        print_content({**content, "passed": passed, "checks": rows}, as_json=True)
    else:
        print_content(content, as_json=False)
        shown = [
            (c.check, c.dtype, c.in_numbers(), c.bound, "passed" if c.passed else "FAILED")
            for c in checks
        ]
        print_table("selftest", ("check", "dtype", "measured", "bound", ""), shown)
    if not passed:
        sys.exit(1)


@click.command()
@click.argument("name")
@click.option(
    "--world",
    type=click.Path(),
    multiple=True,
    help="Organism folder or world file (methods, discovery: several; lds).",
)
@click.option(
    "--organism",
    type=click.Choice(["smollm2"]),
    help="Shipped organism in natural English (methods, discovery).",
)
@click.option("--pairs", type=int, help="Number of pairs (query, discovery_scale, training).")
@click.option("--prompts", type=int, help="Number of prompts (discovery_scale).")
@click.option("--seeds", type=int, help="Training seeds of every arm (repairs).")
@click.option(
    "--folder",
    type=click.Path(file_okay=False),
    help="Keeps the large workspace (pages); a model that is trained too (training).",
)
@click.option("--out", type=click.Path(dir_okay=False), help="File to write (all, methods).")
@as_json_option
@click.pass_obj
def bench(
    store: Store,
    name: str,
    world: tuple[str, ...],
    organism: str | None,
    out: str | None,
    as_json: bool,
    **choices: str | int | None,
) -> None:
    """Measure: extraction, methods, discovery, … (a name in `benchmarks/`), in the workspace.

    `all` measures what the Methods page shows and writes it to --out, by default the file
    that page reads.
    """
    if name == "all":
        written = measure_all(store, Path(out) if out else bench_results.PERFORMANCE)
        print_content({"written": str(written)}, as_json=as_json)
        return
    names = sorted(path.stem for path in FOLDER.glob("[a-z]*.py"))
    if name not in names:
        raise UserError(f"{name!r} is not a benchmark. Known: all, {', '.join(names)}.")
    run = importlib.import_module(f"benchmarks.{name}").run
    parameters = inspect.signature(run).parameters
    options: dict[str, Any] = {k: v for k, v in choices.items() if v is not None}
    options |= {"out": out} if out else {}
    world += (organism,) if organism else ()
    if organism and "worlds" not in parameters:
        raise UserError(f"bench {name} takes no --organism.")
    if len(world) > 1 and "worlds" not in parameters:
        raise UserError(f"bench {name} takes one --world.")
    if world:
        options |= {"worlds": world} if "worlds" in parameters else {"world": world[0]}
    if unknown := options.keys() - parameters.keys():
        raise UserError(f"bench {name} takes no --{min(unknown)}.")
    missing = [o for o, p in parameters.items() if p.default is p.empty and o not in options]
    if missing:
        raise UserError(f"bench {name} needs --{missing[0]}.")
    print_content(run(**options), as_json=as_json)


def measure_all(store: Store, path: Path) -> Path:
    """Run every benchmark of the Methods page, one after another, and write the file."""
    results = {name: _in_child_process(store, name) for name in bench_results.BENCHMARKS}
    write_atomic(path, json.dumps(bench_results.performance_record(results), indent=1) + "\n")
    return path


def _in_child_process(store: Store, name: str) -> dict[str, Any]:
    words = ["-m", "core.cli.main", "--workspace", str(store.workspace), "bench", name, "--json"]
    done = subprocess.run([sys.executable, *words], cwd=FOLDER.parent, capture_output=True)
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise UserError(f"bench {name} failed: {' '.join(last)}")
    return dict(json.loads(done.stdout))
