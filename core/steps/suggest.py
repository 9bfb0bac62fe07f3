"""Ask a language model what it would call each cluster of a discover run."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from core.data.pair_table import PairColumns
from core.models.api.cache import Answers
from core.models.api.client import Endpoint
from core.models.api.cluster_names import LONGEST_TEXT, suggest
from core.runs.index_pairs import indexed_pairs
from core.runs.progress import Progress
from core.runs.store import Store
from core.specs.steps import DiscoverSpec, SuggestSpec
from core.storage.tables import whole

WORDS = ("words_chosen", "words_rejected", "words_prompt")
COLUMNS = ["cluster", "name", "description", "model"]


def run(spec: SuggestSpec, *, store: Store, output: Path, progress: Progress) -> None:
    """Write suggestions and summary (docs/architecture.md)."""
    progress(0, 1, "reading the clusters")
    folder = store.output(spec.discover)
    clusters = whole(folder / "clusters.parquet")
    clusters = clusters[clusters["cluster"] >= 0]
    strongest = _strongest(whole(folder / "pairs.parquet"), spec.examples)
    pairs = _pairs(spec, store)
    groups = [
        described(row, pairs.rows(pairs.positions(strongest.get(row["cluster"], []))))
        for row in clusters.to_dict("records")
    ]
    found, usage = suggest(
        Endpoint(model=spec.llm, url=spec.url),
        groups,
        Answers(store.workspace / "cache" / "names.sqlite"),
        progress=lambda done, total: progress(done, total, "asking for names"),
    )
    rows = [
        (cluster, one.name, one.description, spec.llm)
        for cluster, one in zip(clusters["cluster"], found, strict=True)
        if one is not None
    ]
    pd.DataFrame(rows, columns=COLUMNS).to_parquet(output / "suggestions.parquet", index=False)
    summary = {"n_clusters": len(clusters), "n_named": len(rows), "usage": vars(usage)}
    (output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    progress(1, 1, f"{len(rows)} of {len(clusters)} clusters named")


def described(cluster: dict[Any, Any], examples: pd.DataFrame) -> dict[str, Any]:
    """What is sent of a cluster: its words and its strongest pairs, cut short."""
    columns = ["prompt", "chosen", "rejected"]
    short = examples[columns].apply(lambda column: column.str.slice(0, LONGEST_TEXT))
    return {name: cluster[name] for name in WORDS} | {"pairs": short.to_dict("records")}


def _strongest(pairs: pd.DataFrame, count: int) -> dict[int, list[str]]:
    ordered = pairs.sort_values("strength", ascending=False, kind="stable")
    best = ordered.groupby("cluster")["uid"].head(count)
    groups = ordered.loc[best.index].groupby("cluster")["uid"]
    return {int(str(cluster)): list(uids) for cluster, uids in groups}


def _pairs(spec: SuggestSpec, store: Store) -> PairColumns:
    """The pairs behind the discover run."""
    discover = store.spec(spec.discover)
    assert isinstance(discover, DiscoverSpec)
    return indexed_pairs(discover.index, store)
