"""The terminal: shared options, a bar on standard error, results on standard output."""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import click
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from core.environment import DEVICES, DEVICES_IN_WORDS
from core.runs.execute import execute
from core.runs.progress import Pace
from core.runs.store import Store
from core.specs.base import Spec
from core.storage.tables import record as read_record

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
action_option = click.option(
    "--action",
    type=click.Choice(["remove", "flip", "weight", "relabel"]),
    default="remove",
    show_default=True,
    help="What to do to the pairs: leave them out, swap chosen and rejected, let them count for "
    "less in the loss, or swap where the judge prefers rejected.",
)


def seeds_option(*seeds: int) -> Callable[[Any], Any]:
    """`--seed`, which may be given several times, with these defaults."""
    return click.option(
        "--seed",
        "seeds",
        type=int,
        multiple=True,
        default=seeds,
        show_default=True,
        help="Training seeds, one retraining per arm each.",
    )


def _checked_device(
    _context: click.Context, _option: click.Parameter, name: str | None
) -> str | None:
    if name is not None and not re.fullmatch(DEVICES, name):
        raise click.BadParameter(f"it is {DEVICES_IN_WORDS}.")
    return name


device_option = click.option(
    "--device",
    callback=_checked_device,
    help=f"Where models are computed: {DEVICES_IN_WORDS} [default: the project's; a GPU where "
    "there is one]. Balanced: evenly over all GPUs; what does not fit in memory, then on disk.",
)

SUMMARY = {"index": "manifest.json"}
SKIPPED = ("skipped.parquet", "rows.parquet")  # of an index; of a check, with mere warnings
SCALAR = (str, int, float, bool)

Listener = Callable[[dict[str, Any]], None]


@contextmanager
def bar(title: str, *, shown: bool) -> Iterator[Listener | None]:
    """A listener that draws a run's events; None where standard error is no terminal."""
    if not shown or not sys.stderr.isatty():
        yield None
        return
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        TextColumn("{task.fields[note]}", style="dim"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=None, note="", left="")
        pace = Pace()

        def listen(event: dict[str, Any]) -> None:
            pace.add(event)
            counts = {"completed": event.get("done"), "total": event.get("total")}
            progress.update(
                task,
                note=event.get("note") or "",
                left="" if pace.left is None else f"{timedelta(seconds=round(pace.left))} left",
                **{name: value for name, value in counts.items() if value is not None},
            )

        yield listen


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A plain table; cells are text, never markup."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(str(cell).replace("[", "\\[") for cell in row))
    Console().print(table)


def print_words(table: pd.DataFrame) -> None:
    """Both completions of a pair with each word's part (`side, word, value`) of its score.

    Bold words add to the score, dim ones take from it; below are the ten largest parts.
    """
    console, largest = Console(), max(float(table["value"].abs().max()), 1e-9)
    for side, rows in table.groupby("side", sort=False):
        line = Text(f"{side} {rows['value'].sum():+.3f}  ", style="underline")
        for word, value in zip(rows["word"], rows["value"], strict=True):
            strong = abs(value) > largest / 5
            style = ("bold orange3" if value > 0 else "dim deep_sky_blue3") if strong else "default"
            line.append(_visible(word), style=f"not underline {style}")
        console.print(line)
    top = table.loc[table["value"].abs().nlargest(10).index]
    shown = [
        (side, _visible(str(word).strip()), f"{value:+.4f}")
        for side, word, value in zip(top["side"], top["word"], top["value"], strict=True)
    ]
    print_table(f"score {table['value'].sum():.3f}", ("side", "word", "part"), shown)


def _visible(text: str) -> str:
    """Text whose control characters cannot steer the terminal."""
    return "".join(
        letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in text
    )


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows for JSON, which knows no NaN."""
    rows = table.astype(object).where(table.notna(), None).to_dict(orient="records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def rate_in_words(rate: Mapping[Any, Any]) -> str:
    """A rate with its interval, where it has one."""
    interval = "" if pd.isna(rate["low"]) else f" [{rate['low']:.1%}, {rate['high']:.1%}]"
    return f"{rate['rate']:.1%}{interval}"


def run_spec(spec: Spec, store: Store, *, quiet: bool) -> str:
    """Execute a spec behind a progress bar."""
    with bar(spec.step, shown=not quiet) as listen:
        return execute(spec, store, listen=listen)


def report(run: str, store: Store, *, as_json: bool) -> None:
    """Print the numbers of a finished run's summary, its cost and its folder."""
    output, record = store.output(run), store.record(run)
    summary = read_record(output / SUMMARY.get(record["step"], "summary.json"))
    numbers = {name: value for name, value in summary.items() if isinstance(value, SCALAR)}
    if as_json:
        content = {"run": run, "output": str(output), "cost": record["cost"], "summary": numbers}
        click.echo(json.dumps(content))
        return
    click.echo(f"{run}  {record['cost']['cpu_seconds']} CPU-seconds")
    print_content(numbers, as_json=False)
    skipped = next((name for name in SKIPPED if (output / name).exists()), None)
    if numbers.get("n_skipped") and skipped:
        click.echo(f"What was skipped, by row, field and reason: {skipped} in this folder:")
    click.echo(output)


def print_content(content: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a mapping: as one JSON object, or a line per key; rows of equal keys are a table."""
    if as_json:
        click.echo(json.dumps(content, indent=2))
        return
    for name, value in content.items():
        lines = value if isinstance(value, list) else [value]
        keys = {tuple(line) if isinstance(line, dict) else None for line in lines}
        if isinstance(value, list) and len(keys) == 1 and None not in keys:
            print_table(name, list(value[0]), [list(line.values()) for line in value])
            continue
        click.echo(f"{name}: " + "\n  ".join(map(str, lines)))
