"""`pairtrace runs …`: list, read, verify, seal, stop, resume, repeat and delete runs."""

import json
from pathlib import Path

import click

from core.attribution.index.layout import verify
from core.cli.terminal import as_json_option, print_table, report, run_spec
from core.errors import UserError
from core.runs import commands, hashing, jobs
from core.runs.execute import repeat
from core.runs.store import Store
from core.specs.steps import STEPS

UNKNOWN = "cannot be verified"
LEFT = "left alone: they were written down before"
HOW_TO_SEAL = (
    "A run that cannot be verified finished before checksums were kept: nothing says whether it "
    "changed. `pairtrace runs seal` writes down what its files are now, so that later changes are "
    "found."
)


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
    shown = store.record(run) | {
        "state": store.state(run),
        "command": commands.command(store.spec(run), store),
        "output": str(store.folder(run) / "output"),
    }
    click.echo(json.dumps(shown, indent=2, ensure_ascii=False))


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
    """Check that finished runs' files are as they were written [default: all finished runs]."""
    names = run or [info.id for info in store.infos(state="finished")]
    found = {name: _wrong(store, name) for name in names}
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        said = {None: UNKNOWN, 0: "as written"}
        counts = {name: None if wrong is None else len(wrong) for name, wrong in found.items()}
        rows = [(name, said.get(n, f"{n} changed")) for name, n in counts.items()]
        print_table(str(store.workspace), ("run", "files"), rows)
        if None in counts.values():
            click.echo(HOW_TO_SEAL)
    bad = [f"{file}: {what}" for wrong in found.values() for file, what in (wrong or {}).items()]
    if bad:
        raise UserError(
            f"{'; '.join(bad)}. Put a copy back, or delete the run and run the step again."
        )


def _wrong(store: Store, run: str) -> dict[str, str] | None:
    """What is wrong with a finished run, by path; None where nothing can tell."""
    output = store.output(run)
    try:
        found = hashing.problems(store.folder(run))
        shards = verify(output).to_dict("records") if (output / "manifest.json").exists() else []
    except UserError as error:
        return {run: str(error)}
    wrong = {str(store.folder(run) / name): what for name, what in (found or {}).items()}
    wrong |= {row["file"]: row["problem"] for row in shards}
    return None if found is None and not wrong else wrong


@runs.command("seal")
@click.argument("run", nargs=-1)
@as_json_option
@click.pass_obj
def seal_runs(store: Store, run: tuple[str, ...], as_json: bool) -> None:
    """Write down what the files of runs are that cannot be verified [default: all such runs]."""
    names = run or [info.id for info in store.infos(state="finished")]
    sealed = [name for name in names if store.seal(name)]
    if as_json:
        click.echo(json.dumps(sealed))
    else:
        rows = [(name, "sealed as they are" if name in sealed else LEFT) for name in names]
        print_table(str(store.workspace), ("run", "files"), rows)


@runs.command("cancel")
@click.argument("run")
@click.pass_obj
def cancel_run(store: Store, run: str) -> None:
    """Stop a run; what it has checkpointed stays."""
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
    made = repeat(store, run, lambda spec: run_spec(spec, other, quiet=as_json))
    report(made, other, as_json=as_json)


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
