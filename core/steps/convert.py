"""The convert step: pairs of any shape as one canonical Parquet file."""

from pathlib import Path

from core.data.canonical import import_pairs
from core.runs.progress import Progress
from core.runs.store import Store
from core.specs.steps import ConvertSpec
from core.steps.shared import write_health


def run(spec: ConvertSpec, *, store: Store, output: Path, progress: Progress) -> None:
    """Write `pairs.parquet`, and the pairs' quality as check does (docs/architecture.md)."""
    n_rows = 0

    def tick(rows: int) -> None:
        nonlocal n_rows
        n_rows += rows
        progress(n_rows, 0, "rows read")

    source = store.pairs(spec.pairs)
    health = import_pairs(source, output / "pairs.parquet", spec.columns, tick=tick)
    write_health(output, health)
    progress(n_rows, n_rows, "converted")
