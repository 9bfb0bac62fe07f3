"""`pairtrace judge`: what a judge file says of completions at hand."""

import json
from pathlib import Path
from typing import Any

import click
import pandas as pd

from core.cli.terminal import as_json_option, print_table, rate_in_words, records
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
    if result.flags.empty:
        click.echo("This judge gives no flags.")
    _print_rates(result.rates)
    for pair in records(result.disagreement):
        differ = pair["only_first"] + pair["only_second"]
        click.echo(
            f"{pair['first']} / {pair['second']}: {differ} of {pair['n']} differ "
            f"({pair['only_first']} only the first, {pair['only_second']} only the second), "
            + _kappa(pair)
        )
        if pair["example"]:
            click.echo(f"  such as  {_line(pair['example'])}")
    for line in records(result.labels):
        click.echo(
            f"{line['judge']} · {line['flag']} against {line['n']} labels: "
            f"{line['agreement'] or 0:.1%} agree ({line['only_judge']} only the judge, "
            f"{line['only_person']} only the person), " + _kappa(line)
        )


def _print_rates(rates: pd.DataFrame) -> None:
    """A row per flag and cell; columns that say nothing are left out."""
    if rates.empty:
        return
    words = [rate_in_words(row) if row["n"] else "nothing scored" for row in records(rates)]
    table = rates.assign(rate=words)
    table = table.drop(columns=["low", "high"]).rename(columns={"n_unscored": "unscored"})
    dull = [name for name in ("judge", "model", "group") if table[name].nunique() == 1]
    table = table.drop(columns=dull)
    rows = [[_line(str(value)) for value in row.values()] for row in records(table)]
    print_table("rates, with 95% intervals over prompts", [str(name) for name in table], rows)


def _kappa(row: dict[str, Any]) -> str:
    """Cohen's kappa in words, with its interval where it is defined."""
    if row["kappa"] is None:
        return f"kappa {row['reading']}"
    return f"kappa {row['kappa']:.2f} [{row['low']:.2f}, {row['high']:.2f}] ({row['reading']})"


def _line(text: str) -> str:
    """A text on one line without control characters, cut at `WIDTH`."""
    line = "".join(c if c.isprintable() else " " for c in display_text(text))
    line = " ".join(line.split())
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"
