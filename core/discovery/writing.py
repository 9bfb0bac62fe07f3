"""A discover run's tables, heatmap and summary, as files (docs/architecture.md)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.discovery.heatmap import heatmap
from core.discovery.mapping import Found
from core.discovery.matrix import Matrix


def write(
    output: Path,
    tables: Mapping[str, pd.DataFrame],
    summary: Mapping[str, Any],
    matrix: Matrix,
    found: Found,
    *,
    seed: int,
) -> None:
    """Write `<name>.parquet` of every table, `heatmap.npz` and `summary.json`.

    `seed` draws the pairs and prompts of a heatmap that cannot hold all.
    """
    for name, table in tables.items():
        table.to_parquet(output / f"{name}.parquet", index=False)
    drawing: dict[str, Any] = heatmap(
        matrix, found.features.points, found.labels(matrix), found.kinds.labels, seed
    )
    np.savez_compressed(output / "heatmap.npz", **drawing)
    (output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
