"""The edit step: the pairs of one arm, and what was done to which pair, and why."""

from pathlib import Path
from typing import Any

import pandas as pd

from core.data import canonical
from core.data.pair_table import PairColumns
from core.intervention.edits.apply import (
    arm,
    attribution_share,
    plan,
    random_control,
    summarize,
    unmatched,
)
from core.runs.progress import Progress
from core.runs.store import Store
from core.specs.steps import EditSpec
from core.steps.shared import write_summary


def run(spec: EditSpec, *, store: Store, output: Path, progress: Progress) -> None:
    """Write `pairs.parquet`, `actions.parquet` and `summary.json`."""
    progress(0, 2, "reading pairs")
    pairs = store.pair_columns(spec.pairs)
    progress(1, 2, "editing pairs")
    actions, summary = _actions(spec, pairs, store)
    canonical.write(output / "pairs.parquet", arm(pairs, actions))
    actions.to_parquet(output / "actions.parquet", index=False)
    write_summary(output, summary)
    progress(2, 2, "edited")


def _actions(
    spec: EditSpec, pairs: PairColumns, store: Store
) -> tuple[pd.DataFrame, dict[str, Any]]:
    actions = edited = plan(spec.edits, pairs, store)
    sources = pd.DataFrame({name: pairs[name] for name in ("uid", "source")}).reset_index(drop=True)
    if spec.control is not None:
        actions = random_control(sources, edited, spec.control)
    summary = summarize(pairs, actions) | {
        "attribution_share": attribution_share(spec.edits, actions, store),
        "control": spec.control,
        "n_unmatched": unmatched(sources, edited, actions),
    }
    return actions, summary
