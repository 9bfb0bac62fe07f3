"""`pairtrace runs`, `discover show` and `explain show`: what runs are; stop or delete them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import pandas as pd

from core.attribution.contributions import words
from core.attribution.index.layout import verify
from core.cli.terminal import (
    as_json_option,
    print_content,
    print_table,
    print_words,
    records,
    report,
    run_spec,
)
from core.discovery.alarms import ranked
from core.errors import UserError
from core.runs import commands, hashing, jobs
from core.runs.execute import repeat
from core.runs.store import Store
from core.specs import project
from core.specs.behaviors import Behavior
from core.specs.steps import STEPS, ExplainSpec
from core.storage.tables import table as read_table
from core.workspace.catalog import Catalog

UNKNOWN = "cannot be verified"
SEALED_BEFORE = "left alone: sealed before"
HOW_TO_SEAL = (
    "A run that cannot be verified finished before checksums were kept, so changes of it cannot be "
    "detected. `pairtrace runs seal` records the checksums of its files now, so that later changes "
    "can."
)
SHOWN = [
    *("cluster", "size", "share", "push", "push_low", "push_high", "effect_size"),
    *("sign_agreement", "stability", "prompt_cluster", "n_prompts", "top_source", "words_chosen"),
    *("words_rejected", "words_prompt", "suggested_name", "medoid_uid"),
]


@click.group()
def runs() -> None:
    """List, read, verify, seal, stop, resume, repeat and delete runs."""


@runs.command("list")
@click.option("--step", type=click.Choice(list(STEPS)), help="Only runs of this step.")
@as_json_option
@click.pass_obj
def list_runs(store: Store, step: str | None, as_json: bool) -> None:
    """All runs of the workspace, newest first."""
    infos = store.infos(step)
    if as_json:
        click.echo(json.dumps([vars(info) for info in infos], indent=2))
        return
    rows = [(i.id, i.state, f"{i.seconds:.0f} s", f"{i.done}/{i.total}", i.error) for i in infos]
    print_table(str(store.workspace), ("run", "state", "time", "done", "error"), rows)


@runs.command("show")
@click.argument("run")
@click.pass_obj
def show_run(store: Store, run: str) -> None:
    """What a run was asked to do, by which versions, and what it cost (JSON)."""
    content = store.record(run) | {
        "state": store.state(run),
        "command": commands.command(store.spec(run), store),
        "output": str(store.folder(run) / "output"),
    }
    click.echo(json.dumps(content, indent=2, ensure_ascii=False))


@runs.command("log")
@click.argument("run")
@click.option("--lines", default=40, show_default=True, help="Lines from the end.")
@click.pass_obj
def show_log(store: Store, run: str, lines: int) -> None:
    """The end of a run's log."""
    click.echo(store.log(run, lines))


@runs.command("verify")
@click.argument("run", nargs=-1)
@as_json_option
@click.pass_obj
def verify_runs(store: Store, run: tuple[str, ...], as_json: bool) -> None:
    """Check finished runs' files against their checksums [default: all finished runs]."""
    names = run or [info.id for info in store.infos(state="finished")]
    changes = {name: _changes(store, name) for name in names}
    if as_json:
        click.echo(json.dumps(changes, indent=2))
    else:
        words = {None: UNKNOWN, 0: "as written"}
        counts = {name: None if files is None else len(files) for name, files in changes.items()}
        rows = [(name, words.get(n, f"{n} changed")) for name, n in counts.items()]
        print_table(str(store.workspace), ("run", "files"), rows)
        if None in counts.values():
            click.echo(HOW_TO_SEAL)
    bad = [f"{path}: {why}" for files in changes.values() for path, why in (files or {}).items()]
    if bad:
        raise UserError(
            f"{'; '.join(bad)}. Put a copy back, or delete the run and run the step again."
        )


@runs.command("seal")
@click.argument("run", nargs=-1)
@as_json_option
@click.pass_obj
def seal_runs(store: Store, run: tuple[str, ...], as_json: bool) -> None:
    """Record the checksums of runs that cannot be verified [default: all such runs]."""
    names = run or [info.id for info in store.infos(state="finished")]
    sealed = [name for name in names if store.seal(name)]
    if as_json:
        click.echo(json.dumps(sealed))
    else:
        rows = [(name, "sealed as they are" if name in sealed else SEALED_BEFORE) for name in names]
        print_table(str(store.workspace), ("run", "files"), rows)


@runs.command("cancel")
@click.argument("run")
@click.pass_obj
def cancel_run(store: Store, run: str) -> None:
    """Stop a run; its checkpoints stay."""
    jobs.cancel(store, run)
    click.echo(f"{run}: {store.state(run)}")


@runs.command("resume")
@click.argument("run")
@as_json_option
@click.pass_obj
def resume_run(store: Store, run: str, as_json: bool) -> None:
    """Do an unfinished run again from its spec.json, from its last checkpoint where it has one."""
    report(run_spec(store.spec(run), store, quiet=as_json), store, as_json=as_json)


@runs.command("repeat")
@click.argument("run")
@click.option("--into", required=True, type=click.Path(file_okay=False), help="Other workspace.")
@as_json_option
@click.pass_obj
def repeat_run(store: Store, run: str, into: str, as_json: bool) -> None:
    """Make a run, and every run that it reads, again in another workspace, from spec.json."""
    other = Store(Path(into))
    repeated = repeat(store, run, lambda spec: run_spec(spec, other, quiet=as_json))
    report(repeated, other, as_json=as_json)


@runs.command("delete")
@click.argument("run")
@click.confirmation_option(prompt="What the run computed will be gone. Delete it?")
@click.pass_obj
def delete_run(store: Store, run: str) -> None:
    """Delete a run with all that it computed, its vectors in an object store included."""
    left = store.delete(run)
    click.echo(f"{run}: deleted")
    if left:
        click.echo(f"Its shards stay at {left}: the run was made in another folder.")


@click.command("show")
@click.argument("run", required=False)
@as_json_option
@click.pass_obj
def show_clusters(store: Store, run: str | None, as_json: bool) -> None:
    """List the clusters of a run, the worst alarm first [default: the newest discover run]."""
    run = run or store.newest("discover")
    rows = clusters(store, run)
    if as_json:
        print_content({"run": run, "clusters": rows}, as_json=True)
        return
    for row in rows:
        print_content(row, as_json=False)
        click.echo()


@click.command("show")
@click.argument("uid")
@click.option("--rank", help="Rank run whose score is split [default: the newest].")
@as_json_option
@click.pass_obj
def show_words(store: Store, uid: str, rank: str | None, as_json: bool) -> None:
    """Print a pair's words with their part of its score; computes them if they are not there."""
    rank = rank or store.newest("rank")
    of_best, of_pair = ExplainSpec(rank=rank), ExplainSpec(rank=rank, uids=(uid,))
    run = store.run_id(of_best)
    ready = store.state(run) == "finished" and _tokens(store, run, uid).size
    run = run if ready else run_spec(of_pair, store, quiet=as_json)
    tokens = _tokens(store, run, uid).dropna()
    if tokens.empty:
        raise UserError(f"{rank}: pair {uid!r} has no score to split: its vector is undefined.")
    table = words(tokens)
    if as_json:
        content = {"run": run, "uid": uid, "score": float(table["value"].sum())}
        click.echo(json.dumps(content | {"words": records(table[["side", "word", "value"]])}))
    else:
        print_words(table)


def _tokens(store: Store, run: str, uid: str) -> pd.DataFrame:
    tokens = read_table(store.output(run) / "tokens.parquet")
    return tokens[tokens["uid"].eq(uid)]


def clusters(store: Store, run: str) -> list[dict[str, Any]]:
    """A row per cluster: statistics, people's labels, its alarm, and its share of behaviors."""
    folder = store.output(run)
    table, changes = (read_table(folder / f"{name}.parquet") for name in ("clusters", "changes"))
    labels = Catalog(store.workspace).state().of(run)
    behaviors = project.load(store.workspace).behaviors
    alarms = ranked(table, changes, behaviors, labels.marks).set_index("cluster")
    shares = _attribution_shares(folder, behaviors)
    order = [*alarms.index, *(c for c in table["cluster"] if c not in alarms.index and c >= 0)]
    kept = table.set_index("cluster", drop=False).loc[order]
    rows: list[Any] = kept[[name for name in SHOWN if name in kept]].to_dict("records")
    for row in rows:
        cluster = row["cluster"]
        row["name"], row["mark"] = labels.names.get(cluster), labels.marks.get(cluster)
        row["alarm"] = alarms.loc[cluster].to_dict() if cluster in alarms.index else None
        row["share_of_attribution"] = {
            behavior: float(by_cluster.get(cluster, 0.0)) for behavior, by_cluster in shares.items()
        }
    return rows


def _attribution_shares(folder: Path, behaviors: Sequence[Behavior]) -> dict[str, pd.Series]:
    """Share of each behavior's attribution by cluster; absent where the map has no such prompts."""
    path = folder / "contributions.parquet"
    if not path.is_file():  # runs of earlier versions
        return {}
    cells = read_table(path).groupby(["flag", "group", "condition"])
    names = {(b.flag, b.group, b.condition): b.name for b in behaviors}
    return {
        names[cell]: rows.set_index("cluster")["share_of_attribution"]
        for cell, rows in cells
        if cell in names
    }


def _changes(store: Store, run: str) -> dict[str, str] | None:
    """What changed in a finished run since it was written, by path; None without checksums."""
    output = store.output(run)
    try:
        problems = hashing.problems(store.folder(run))
        shards = verify(output).to_dict("records") if (output / "manifest.json").exists() else []
    except UserError as error:
        return {run: str(error)}
    changes = {str(store.folder(run) / name): why for name, why in (problems or {}).items()}
    changes |= {row["file"]: row["problem"] for row in shards}
    return None if problems is None and not changes else changes
