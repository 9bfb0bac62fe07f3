"""`pairtrace data …`: look at a preference set, and bring it into the workspace."""

import json
from pathlib import Path

import click

from core.cli import terminal
from core.cli.terminal import as_json_option, print_content, print_table
from core.data.canonical import import_pairs
from core.data.chat import display_text
from core.data.prompts import (
    append_distractors,
    read_prompts,
    read_text_lines,
    split,
    write_prompts,
)
from core.data.quality import Preview, preview
from core.data.trl_formats import FIELDS
from core.errors import UserError
from core.runs.progress import Progress
from core.runs.store import Store

WIDTH = 60  # characters of a text in a table


def mapping(words: tuple[str, ...]) -> dict[str, str]:
    """`field=column` words as a mapping. `UserError` names a word that is none."""
    pairs = [word.partition("=") for word in words]
    for word, (field, equals, column) in zip(words, pairs, strict=True):
        if not (field and equals and column):
            raise UserError(f"--map {word!r}: write field=column, such as chosen=preferred.")
    return {field: column for field, _, column in pairs}


map_option = click.option(
    "--map",
    "words",
    multiple=True,
    metavar="FIELD=COLUMN",
    help=f"Which column serves a field ({', '.join(FIELDS)}). May be given several times.",
)


@click.group()
def data() -> None:
    """Look at a preference set of any shape, and bring it into the workspace."""


@data.command("preview")
@click.argument("file", type=click.Path(path_type=Path))
@map_option
@click.option("--rows", default=5, show_default=True, help="Rows to look at.")
@as_json_option
def preview_command(file: Path, words: tuple[str, ...], rows: int, as_json: bool) -> None:
    """What the first rows of FILE would become."""
    found = preview(file, mapping(words), rows)
    if as_json:
        content = {
            "columns": found.columns,
            "pairs": json.loads(found.pairs.to_json(orient="records")),
            "skipped": json.loads(found.skipped.to_json(orient="records")),
        }
        click.echo(json.dumps(content, indent=2, ensure_ascii=False))
    else:
        _print_preview(file, found)


@data.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@map_option
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Parquet file to write [default: inputs/pairs.parquet in the workspace].",
)
@as_json_option
@click.pass_obj
def import_command(
    store: Store, file: Path, words: tuple[str, ...], out: Path | None, as_json: bool
) -> None:
    """Copy FILE into one canonical Parquet file, and report its health.

    FILE is .jsonl, .json, .csv (each also .gz), .parquet, .arrow, or a folder of these.
    """
    path = out or store.workspace / "inputs" / "pairs.parquet"
    with terminal.bar("import", shown=not as_json) as listen:
        progress, seen = Progress(listen=listen), 0

        def tick(rows: int) -> None:
            nonlocal seen
            seen += rows
            progress(seen, 0, "rows read")

        health = import_pairs(file, path, mapping(words), tick=tick)
    known = {k: v for k, v in health.summary.items() if as_json or not isinstance(v, list | dict)}
    advice = health.summary["advice"]
    print_content({"pairs": str(path), **known, "advice": advice}, as_json=as_json)


@data.command("prompts")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--distractors",
    type=click.Path(path_type=Path),
    help="Text file, one distractor per line; every prompt is built with every one.",
)
@click.option("--group", help="Group of all these prompts [default: the file's own].")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="JSONL to write.")
@click.option("--heldout", type=click.Path(dir_okay=False, path_type=Path), help="Second JSONL.")
@click.option("--share", default=0.5, show_default=True, help="Share of the prompts held out.")
@as_json_option
@click.pass_obj
def prompts_command(
    store: Store,
    file: Path,
    distractors: Path | None,
    group: str | None,
    out: Path | None,
    heldout: Path | None,
    share: float,
    as_json: bool,
) -> None:
    """Make the two prompt files of an investigation from FILE (text, YAML, CSV or JSONL).

    One set builds the behavior, the other measures it; they have no prompt in common.
    """
    prompts = read_prompts(file)
    if group:
        prompts = prompts.assign(group=group)
    if distractors is not None:
        texts = [line.value["prompt"] for line in read_text_lines(distractors)]
        prompts = append_distractors(prompts, texts)
    built, measured = split(prompts, share)
    inputs = store.workspace / "inputs"
    made = {out or inputs / "prompts.jsonl": built, heldout or inputs / "heldout.jsonl": measured}
    for path, rows in made.items():
        write_prompts(rows, path)
    counts = {str(path): len(rows) for path, rows in made.items()}
    print_content(counts, as_json=as_json)


def _print_preview(file: Path, found: Preview) -> None:
    click.echo(f"columns: {', '.join(found.columns)}")
    names = ("uid", "prompt", "chosen", "rejected", "source")
    rows = [[_short(pair[name]) for name in names] for _, pair in found.pairs.iterrows()]
    print_table(str(file), names, rows)
    if not found.skipped.empty:
        skipped = found.skipped[["row", "field", "reason"]].to_numpy().tolist()
        print_table("left out", ("row", "field", "reason"), skipped)


def _short(text: object) -> str:
    line = " ".join(display_text(str(text)).split())
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"
