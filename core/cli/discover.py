"""`pairtrace discover show`: what a run found, the worst alarm first, without a browser."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import pandas as pd

from core.cli.terminal import as_json_option, print_content
from core.discovery.alarms import ranked
from core.runs.store import Store
from core.specs import project
from core.specs.behaviors import Behavior
from core.storage.tables import table as read_table
from core.workspace.catalog import Catalog

SHOWN = [
    *("cluster", "size", "share", "push", "push_low", "push_high", "effect_size"),
    *("sign_agreement", "stability", "prompt_cluster", "n_prompts", "top_source", "words_chosen"),
    *("words_rejected", "words_prompt", "suggested_name", "medoid_uid"),
]


@click.command("show")
@click.argument("run", required=False)
@as_json_option
@click.pass_obj
def show(store: Store, run: str | None, as_json: bool) -> None:
    """List the clusters of a run, the worst alarm first [default: the newest discover run]."""
    run = run or store.newest("discover")
    found = clusters(store, run)
    if as_json:
        print_content({"run": run, "clusters": found}, as_json=True)
        return
    for one in found:
        print_content(one, as_json=False)
        click.echo()


def clusters(store: Store, run: str) -> list[dict[str, Any]]:
    """A record per cluster: statistics, what people said, its alarm, and its part in behaviors."""
    folder = store.output(run)
    table, changes = (read_table(folder / f"{name}.parquet") for name in ("clusters", "changes"))
    said = Catalog(store.workspace).state().of(run)
    behaviors = project.load(store.workspace).behaviors
    alarms = ranked(table, changes, behaviors, said.marks).set_index("cluster")
    parts = _contributions(folder, behaviors)
    order = [*alarms.index, *(c for c in table["cluster"] if c not in alarms.index and c >= 0)]
    kept = table.set_index("cluster", drop=False).loc[order]
    columns = [name for name in SHOWN if name in kept]
    records: list[Any] = kept[columns].to_dict("records")
    for one in records:
        cluster = one["cluster"]
        one["name"], one["mark"] = said.names.get(cluster), said.marks.get(cluster)
        one["alarm"] = alarms.loc[cluster].to_dict() if cluster in alarms.index else None
        one["share_of_attribution"] = {
            behavior: float(shares.get(cluster, 0.0)) for behavior, shares in parts.items()
        }
    return records


def _contributions(folder: Path, behaviors: Sequence[Behavior]) -> dict[str, pd.Series]:
    """Share of each of the project's behaviors by cluster; those that nothing shows are absent."""
    path = folder / "contributions.parquet"
    if not path.is_file():  # runs of earlier versions
        return {}
    shares = read_table(path).groupby(["flag", "group", "condition"])
    named = {(b.flag, b.group, b.condition): b.name for b in behaviors}
    return {
        named[cell]: rows.set_index("cluster")["share_of_attribution"]
        for cell, rows in shares
        if cell in named
    }
