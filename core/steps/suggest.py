"""The suggest step: a language model names the clusters of a discover run."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from core.models.api.batch import Answers
from core.models.api.client import Endpoint
from core.models.api.questions import LONGEST_TEXT, suggest_names
from core.runs.progress import Progress
from core.runs.store import Store
from core.specs.steps import DiscoverSpec, SuggestSpec
from core.steps.shared import write_summary
from core.storage.tables import data_frame

WORDS = ("words_chosen", "words_rejected", "words_prompt")
COLUMNS = ["cluster", "name", "description", "model"]


def run(spec: SuggestSpec, *, store: Store, output: Path, progress: Progress) -> None:
    """Write suggestions and summary (docs/architecture.md)."""
    progress(0, 1, "reading the clusters")
    folder, discover = store.output(spec.discover), store.spec(spec.discover, DiscoverSpec)
    clusters = data_frame(folder / "clusters.parquet").query("cluster >= 0")
    strongest = _strongest(data_frame(folder / "pairs.parquet"), spec.examples)
    pairs = store.index_pairs(discover.index)
    groups = [
        _question(row, pairs.rows(pairs.positions(strongest.get(row["cluster"], []))))
        for row in clusters.to_dict("records")
    ]
    suggestions, usage = suggest_names(
        Endpoint(model=spec.llm, url=spec.url),
        groups,
        Answers(store.workspace / "cache" / "names.sqlite"),
        progress=lambda done, total: progress(done, total, "asking for names"),
    )
    rows = [
        (cluster, suggestion.name, suggestion.description, spec.llm)
        for cluster, suggestion in zip(clusters["cluster"], suggestions, strict=True)
        if suggestion is not None
    ]
    pd.DataFrame(rows, columns=COLUMNS).to_parquet(output / "suggestions.parquet", index=False)
    write_summary(output, {"n_clusters": len(clusters), "n_named": len(rows), "usage": vars(usage)})
    progress(1, 1, f"{len(rows)} of {len(clusters)} clusters named")


def _question(cluster: Mapping[Hashable, Any], examples: pd.DataFrame) -> dict[str, Any]:
    """What is sent of a cluster: its words and its strongest pairs, cut short."""
    columns = ["prompt", "chosen", "rejected"]
    short = examples[columns].apply(lambda column: column.str.slice(0, LONGEST_TEXT))
    return {name: cluster[name] for name in WORDS} | {"pairs": short.to_dict("records")}


def _strongest(pairs: pd.DataFrame, count: int) -> dict[int, list[str]]:
    """Per cluster the uids of the pairs with the highest `strength`."""
    ordered = pairs.sort_values("strength", ascending=False, kind="stable")
    top = ordered.groupby("cluster").head(count).groupby("cluster")["uid"]
    return {int(str(cluster)): list(uids) for cluster, uids in top}
