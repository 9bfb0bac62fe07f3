"""How a step looks in a terminal: a bar on standard error, tables on standard output."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

Listener = Callable[[dict[str, Any]], None]


@contextmanager
def bar(title: str, *, shown: bool) -> Iterator[Listener | None]:
    """A listener for a run's events that draws them; None where nobody watches."""
    if not shown or not sys.stderr.isatty():
        yield None
        return
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", style="dim"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=None, note="")

        def listen(event: dict[str, Any]) -> None:
            known = {"completed": event.get("done"), "total": event.get("total")}
            progress.update(
                task,
                note=event.get("note") or "",
                **{name: value for name, value in known.items() if value is not None},
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
