"""The edit step: the pairs of one arm, and what was done to which pair, and why."""

from pathlib import Path
from typing import Any

import pandas as pd

from core.data import canonical
from core.data.pair_table import PairColumns
from core.intervention.edits.apply import arm, plan, random_control, unmatched
from core.intervention.edits.checks import attribution_share, summarize
from core.intervention.evaluation.judges import cost, load_judge
from core.runs.progress import Progress
from core.runs.store import Store
from core.specs.recipes import EditSpec
from core.steps.shared import write_summary


def run(spec: EditSpec, *, store: Store, output: Path, progress: Progress) -> None:
    """Write `pairs.parquet`, `actions.parquet` and `summary.json`."""
    progress(0, 2, "reading pairs")
    pairs = store.pair_columns(spec.pairs)
    progress(1, 2, "editing pairs")
    actions, summary = _actions(spec, pairs, store)
    canonical.write(output / "pairs.parquet", arm(pairs, actions))
    done = actions.dropna(axis=1, how="all")  # columns of what this edit does
    done.to_parquet(output / "actions.parquet", index=False)
    write_summary(output, summary)
    progress(2, 2, "edited")


def _actions(
    spec: EditSpec, pairs: PairColumns, store: Store
) -> tuple[pd.DataFrame, dict[str, Any]]:
    judge = load_judge(spec.judge) if spec.judge else None
    actions = edited = plan(spec.edits, pairs, store, judge)
    sources = pd.DataFrame({name: pairs[name] for name in ("uid", "source")}).reset_index(drop=True)
    if spec.control is not None:
        actions = random_control(
            sources, edited, spec.control, lambda uids: pairs.rows(pairs.positions(uids))
        )
    summary = summarize(pairs, actions) | {
        "attribution_share": attribution_share(spec.edits, actions, store),
        "control": spec.control,
        "n_unmatched": unmatched(sources, edited, actions),
    }
    if judge:
        summary["judging"] = cost(judge)
    return actions, summary
