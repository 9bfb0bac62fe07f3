"""`pairtrace judge`: what a judge file says of completions at hand."""

import json
from pathlib import Path

import click
import pandas as pd

from core.cli.terminal import as_json_option, print_table, records
from core.data.chat import display_text
from core.errors import UserError
from core.intervention.evaluation.judge_preview import (
    Preview,
    preview,
    read_judged_texts,
    read_labels,
)
from core.intervention.evaluation.judges import load_judge
from core.runs.store import Store

WIDTH = 100  # characters of a text


@click.group()
def judge() -> None:
    """Try a judge on completions at hand (docs/judges.md says how to write one)."""


@judge.command("preview")
@click.argument("files", metavar="FILE…", nargs=-1, required=True)
@click.option(
    "--completions",
    required=True,
    help="A generate or evaluate run, or a data file with a column `completion`.",
)
@click.option(
    "--labels",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Hand labels: a data file with prompt_id or completion, and a yes/no column per flag.",
)
@click.option("--examples", default=3, show_default=True, help="Texts of each answer to print.")
@click.option("--limit", type=click.IntRange(1), help="Judge so many, drawn at random [all].")
@as_json_option
@click.pass_obj
def preview_command(
    store: Store,
    files: tuple[str, ...],
    completions: str,
    labels: Path | None,
    examples: int,
    limit: int | None,
    as_json: bool,
) -> None:
    """Flags, rates, disagreements and agreement with hand labels of judge files (or `refusal`)."""
    if len(set(files)) < len(files):
        raise UserError("A judge is named twice. Name each once.")
    judges = {name: load_judge(name) for name in files}
    table = read_judged_texts(completions, store)
    people = read_labels(labels, table) if labels is not None else None
    if limit is not None and limit < len(table):
        table = table.sample(limit, random_state=0).sort_index()
        people = people.loc[table.index] if people is not None else None
    result = preview(judges, table, people, examples=examples)
    if as_json:
        content = {name: records(part) for name, part in result._asdict().items()}
        click.echo(json.dumps(content, indent=2, ensure_ascii=False))
    else:
        _print(result)


def _print(result: Preview) -> None:
    for row in result.flags.itertuples(index=False):
        click.echo(f"{row.judge} · {row.flag}: {row.yes} yes, {row.no} no, {row.unscored} unscored")
        texts = result.texts.query("judge == @row.judge and flag == @row.flag")
        for text in texts.itertuples(index=False):
            click.echo(f"  {'yes' if text.shown else 'no ':3}  {_line(str(text.completion))}")
    titles = {
        "rates": "rates (95% interval over prompts)",
        "disagreement": "disagreement of judges",
        "labels": "agreement with hand labels",
    }
    for name, title in titles.items():
        table = getattr(result, name)
        if not table.empty:
            rows = [[_cell(value) for value in row] for row in table.itertuples(index=False)]
            print_table(title, list(table), rows)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:.3g}"
    return _line(str(value))


def _line(text: str) -> str:
    """A text on one line without control characters, cut at `WIDTH`."""
    line = "".join(c if c.isprintable() else " " for c in display_text(text))
    line = " ".join(line.split())
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"
