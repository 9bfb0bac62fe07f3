"""The convert step: a preference set of any shape as one Parquet file in our own form."""

import json
from pathlib import Path

from core.data.convert import import_pairs
from core.runs.progress import Progress
from core.runs.store import Store
from core.specs.steps import ConvertSpec
from core.storage.atomic import write_atomic


def run(spec: ConvertSpec, *, store: Store, output: Path, progress: Progress) -> None:
    """Write `pairs.parquet`, and its health as check does (docs/architecture.md)."""
    seen = 0

    def tick(rows: int) -> None:
        nonlocal seen
        seen += rows
        progress(seen, 0, "rows read (twice in all)")

    source = store.pairs(spec.pairs)
    health = import_pairs(source, output / "pairs.parquet", spec.columns, tick=tick)
    health.rows.to_parquet(output / "rows.parquet", index=False)
    health.sources.to_parquet(output / "sources.parquet", index=False)
    write_atomic(output / "summary.json", json.dumps(health.summary, indent=2) + "\n")
    progress(seen, seen, "converted")
