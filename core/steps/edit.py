"""The edit step: the pairs of one arm, and what was done to which pair, and why."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from core.data.pairs import read_pairs, write_pairs
from core.data.whole import write_whole
from core.intervention.edits import (
    apply,
    attribution_share,
    plan,
    random_control,
    summarize,
    unmatched,
)
from core.runs.progress import Progress
from core.runs.specs import EditSpec
from core.runs.store import Store


def run(spec: EditSpec, *, store: Store, output: Path, progress: Progress) -> None:
    """Write `pairs.parquet`, `actions.parquet` and `summary.json`."""
    progress(0, 2, "reading pairs")
    pairs = read_pairs(store.pairs(spec.pairs)).pairs
    progress(1, 2, "editing pairs")
    actions, summary = _actions(spec, pairs, store)
    write_pairs(apply(pairs, actions), output / "pairs.parquet")
    actions.to_parquet(output / "actions.parquet", index=False)
    write_whole(output / "summary.json", json.dumps(summary, indent=2) + "\n")
    progress(2, 2, "edited")


def _actions(
    spec: EditSpec, pairs: pd.DataFrame, store: Store
) -> tuple[pd.DataFrame, dict[str, Any]]:
    actions = edited = plan(spec.edits, pairs, store)
    if spec.control is not None:
        actions = random_control(pairs, edited, spec.control)
    summary = summarize(pairs, actions) | {
        "attribution_share": attribution_share(spec.edits, actions, store),
        "control": spec.control,
        "n_unmatched": unmatched(pairs, edited, actions),
    }
    return actions, summary
