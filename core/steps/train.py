"""The train step: one DPO training on an arm's pairs, or a checkpoint that is imported for it."""

from pathlib import Path

import numpy as np
import pandas as pd

from core.data.canonical import stream_texts, weights
from core.errors import UserError
from core.intervention.training.checkpoints import import_checkpoint
from core.intervention.training.dpo import train
from core.intervention.training.tokens import with_terms
from core.runs.progress import Progress
from core.runs.store import Store
from core.specs.steps import RankSpec, TrainSpec
from core.steps.shared import write_summary
from core.storage.tables import table


def run(spec: TrainSpec, *, store: Store, output: Path, progress: Progress) -> None:
    """Write `model/`, `log.jsonl` and `summary.json`; resumes from the last checkpoint."""
    reference = store.model(spec.reference)
    if spec.checkpoint is not None:
        progress(0, 1, "checking the checkpoint")
        summary = import_checkpoint(store.model(spec.checkpoint), reference, output)
    else:
        path = store.pairs(spec.pairs)
        pairs = with_terms(stream_texts(path), weights(path, spec.pairs), explained(spec, store))
        cache = store.workspace / "cache" / "reference_log_probs"
        summary = train(reference, pairs, spec, output, cache, progress)
    if summary:  # of several processes, one writes
        write_summary(output, summary)


def explained(spec: TrainSpec, store: Store) -> pd.Series | None:
    """λ · (A(chosen) − A(rejected)) by uid, A the projection on the behavior's vector.

    Added to the margin, it explains away the part of a preference that the behavior accounts for
    (arXiv 2606.12360): the loss of such a pair is small before anything is learnt from it. In
    standard deviations over all pairs, times `explain_strength`; 0 where it is undefined. A control
    has the same values at random pairs. None where nothing is explained away.
    """
    if spec.explain_away is None:
        return None
    index = store.spec(spec.explain_away, RankSpec).index
    if store.record(index)["contents"]["pairs"] != store.contents(spec)["pairs"]:
        raise UserError(
            f"explain_away: {spec.explain_away} scored other pairs than {spec.pairs}. Train on the "
            "pairs that it ranks: the correction is of the loss and leaves the data as it is."
        )
    ranking = table(store.output(spec.explain_away) / "ranking.parquet", ["uid", "projection"])
    values = ranking["projection"].to_numpy(float)
    offsets = np.nan_to_num(spec.explain_strength * values / np.nanstd(values))
    if spec.explain_control is not None:
        offsets = np.random.default_rng(spec.explain_control).permutation(offsets)
    return pd.Series(offsets, index=ranking["uid"])
