"""`pairtrace discover show`: what a run found, the worst alarm first, without a browser."""

from typing import Any

import click
import pandas as pd

from core.discovery.alarms import ranked
from core.discovery.statistics import contributions
from core.runs import project
from core.runs.catalog import Catalog
from core.runs.specs import RankSpec
from core.runs.store import Store
from core.runs.tables import table as read_table
from core.terminal import as_json_option, print_content

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
    table, changes, pairs = (
        read_table(folder / f"{name}.parquet") for name in ("clusters", "changes", "pairs")
    )
    said = Catalog(store.workspace).state().of(run)
    behaviors = project.load(store.workspace).behaviors
    alarms = ranked(table, changes, behaviors, said.marks).set_index("cluster")
    parts = _contributions(store, pairs.set_index("uid")["cluster"])
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


def _contributions(store: Store, labels: pd.Series) -> dict[str, pd.Series]:
    """Each ranked behavior's attribution by cluster, from its newest finished rank run."""
    found: dict[str, pd.Series] = {}
    for info in store.infos("rank"):
        if info.state != "finished":
            continue
        spec = store.spec(info.id)
        assert isinstance(spec, RankSpec)
        if spec.behavior.name not in found:
            ranking = read_table(store.output(info.id) / "ranking.parquet")
            found[spec.behavior.name] = contributions(labels, ranking)
    return found
