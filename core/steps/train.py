"""The train step: one DPO training on an arm's pairs, or a checkpoint that is imported for it."""

from pathlib import Path

from core.data.canonical import stream_texts
from core.intervention.training.dpo import train
from core.intervention.training.import_checkpoint import import_checkpoint
from core.runs.progress import Progress
from core.runs.store import Store
from core.specs.steps import TrainSpec
from core.steps.shared import write_summary


def run(spec: TrainSpec, *, store: Store, output: Path, progress: Progress) -> None:
    """Write `model/`, `log.jsonl` and `summary.json`; resumes from the last checkpoint."""
    reference = store.model(spec.reference)
    if spec.checkpoint is not None:
        progress(0, 1, "checking the checkpoint")
        summary = import_checkpoint(store.model(spec.checkpoint), reference, output)
    else:
        pairs = stream_texts(store.pairs(spec.pairs))
        cache = store.workspace / "cache" / "reference_log_probs"
        summary = train(reference, pairs, spec, output, cache, progress)
    if summary:  # of several processes, one writes
        write_summary(output, summary)
