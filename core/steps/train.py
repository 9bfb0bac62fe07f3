"""The train step: one arm's DPO retraining."""

import json
from pathlib import Path

from core.data.pairs import read_pairs
from core.intervention.training import train
from core.runs.progress import Progress
from core.runs.specs import TrainSpec
from core.runs.store import Store, write_whole


def run(spec: TrainSpec, *, store: Store, output: Path, progress: Progress) -> None:
    """Write `model/`, `log.jsonl` and `summary.json`; picks up where a stopped attempt was."""
    pairs = read_pairs(store.pairs(spec.pairs)).pairs
    cache = store.workspace / "cache" / "reference_log_probs"
    summary = train(store.model(spec.reference), pairs, spec, output, cache, progress)
    write_whole(output / "summary.json", json.dumps(summary, indent=2) + "\n")
