"""How well the time of an index is known: from 1% of the pairs beforehand, and while it runs.

Pairs of 925 tokens on average, the shortest first, so that an estimate by the number of pairs
creeps; a small random OLMo 2 shape. All times are CPU-seconds of this process, which do not depend
on how busy the machine is. The sample is every hundredth pair, read before the index; its
seconds per pair times the number of pairs is the estimate.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.memory import ORGANISM, random_model
from core.attribution.index.build import sample_items
from core.data.pair_table import open_columns
from core.models.extraction.activations import segment_means
from core.models.loading import load_model, on_cores
from core.runs.execute import execute
from core.runs.progress import Pace
from core.runs.store import Store
from core.specs.steps import IndexSpec

SHAPE = (128, 4, 8_192)  # width, blocks, vocabulary
MEAN_TOKENS = 925
SAMPLE = 0.01
PASSES = 3  # over the sample, the first of which warms up
SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)  # of the run's time, at which the time left is looked at


def run(pairs: int = 800) -> dict[str, Any]:
    """The estimate of a sample, and of every tenth of a run, over the truth."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = random_model(folder / "model", *SHAPE)
        table = growing_pairs(pairs)
        table.to_parquet(folder / "pairs.parquet")
        per_pair = _sampled(model, folder, max(8, round(SAMPLE * pairs)))
        events = _indexed(model, folder)
    truth = events[-1]["time"] - events[0]["time"]
    return {
        "pairs": pairs,
        "seconds": truth,
        "sample_estimate_over_truth": per_pair * pairs / truth,
        "total_over_truth": {
            "by_work": _totals(events),
            "by_pairs": _totals([{k: v for k, v in e.items() if k != "work"} for e in events]),
        },
    }


def growing_pairs(n: int) -> pd.DataFrame:
    """Pairs of the organism's texts joined to ever longer ones."""
    texts = pd.read_parquet(ORGANISM / "pairs.parquet")[["prompt", "chosen", "rejected"]]
    words = texts.apply(lambda column: column.str.split().str.len()).sum(axis=1).mean()
    joined = np.linspace(0.1, 1.9, n) * MEAN_TOKENS / (1.25 * words)
    rng = np.random.default_rng(0)
    rows = [
        texts.iloc[rng.integers(0, len(texts), max(1, round(size)))].agg(" ".join)
        for size in joined
    ]
    table = pd.DataFrame(rows).reset_index(drop=True)
    return table.assign(uid=[f"pair-{row}" for row in table.index], source="joined")


def _sampled(model: Path, folder: Path, count: int) -> float:
    """CPU-seconds per pair of a sample, the least of some passes."""
    columns = open_columns(folder / "pairs.parquet", folder / "cache")
    items, loaded = sample_items(model, columns, count), load_model(model, blocks=SHAPE[1] - 1)
    seconds = []
    with on_cores(1):
        for _ in range(PASSES):
            start = time.process_time()
            segment_means(loaded.model, items, [SHAPE[1] - 1])
            seconds.append(time.process_time() - start)
    return min(seconds[1:]) / len(items)


def _indexed(model: Path, folder: Path) -> list[dict[str, Any]]:
    """Events of the reading, with CPU-seconds as their time."""
    events: list[dict[str, Any]] = []

    def listen(event: dict[str, Any]) -> None:
        if "work" in event:
            events.append(event | {"time": time.process_time()})

    spec = IndexSpec(model=str(model), pairs=str(folder / "pairs.parquet"), layers=(SHAPE[1] - 1,))
    execute(spec, Store(folder / "workspace"), listen=listen)
    return events


def _totals(events: list[dict[str, Any]]) -> dict[str, float]:
    """Time so far and time left, over the truth, at some shares of the time."""
    begin, end = events[0]["time"], events[-1]["time"]
    pace, totals, shares = Pace(), {}, list(SHARES)
    for event in events:
        pace.add(event)
        passed = (event["time"] - begin) / (end - begin)
        if shares and passed >= shares[0] and pace.left is not None:
            totals[f"{shares.pop(0):.0%}"] = passed + pace.left / (end - begin)
    return totals
