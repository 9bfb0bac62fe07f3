"""Speed of scans: eight behaviors against 378k pairs at d = 4096, the size of the paper's data set.

The index has the real file format and random vectors; two thirds of it are read (datapoint and
context means, not the chosen means between them). Four scans are timed: the scores that cost a
product per behavior, the default among them, with a cold page cache if the system allows it, and
again; all scores of one behavior, as for one ranking; and all scores of the eight, which cost a
product per prompt.
"""

import os
import shutil
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.attribution.index.layout import (
    Manifest,
    Shard,
    VectorIndex,
    array_name,
    write_manifest,
    write_vectors,
)
from core.attribution.similarity import Query, save_mean_contexts, scan
from core.models.memory import peak_resident
from core.specs import behaviors

PAIRS, WIDTH, BEHAVIORS, PROMPTS = 378_341, 4096, 8, 120
IN_SHARD = 1200  # pairs, about a million tokens
DISTINCT = 8  # shards of random numbers; the others are copies of these


def run(pairs: int = PAIRS) -> dict[str, Any]:
    """Write the index to a temporary folder, scan it, delete it."""
    queries = _queries()
    with tempfile.TemporaryDirectory() as folder:
        seconds, index = _write(Path(folder), pairs)
        size = sum(file.stat().st_size for file in Path(folder).rglob("*.npy"))
        cold = _drop_cache(Path(folder))
        first, tables = _timed_scan(index, queries)
        second, _ = _timed_scan(index, queries)
        ranking, _ = _timed_scan(index, queries[:1], bank=True)
        bank, _ = _timed_scan(index, queries, bank=True)
        return {
            "pairs": len(tables[0]),
            "d_model": WIDTH,
            "behaviors": len(tables),
            "scores": [name for name in tables[0] if name != "uid"],
            "undefined": int(sum(table[behaviors.DEFAULT_SCORE].isna().sum() for table in tables)),
            "index_gb": size / 1e9,
            "write_seconds": seconds,
            "cold_cache": cold,
            **_named("first_scan", first),
            **_named("second_scan", second),
            **_named("one_behavior_all_scores", ranking),
            **_named("all_scores", bank),
            "peak_resident_gb": peak_resident() / 1024**3,
        }


def _named(scan: str, seconds: tuple[float, float]) -> dict[str, float]:
    return {f"{scan}_seconds": seconds[0], f"{scan}_cpu_seconds": seconds[1]}


def _timed_scan(
    index: VectorIndex, queries: list[Query], *, bank: bool = False
) -> tuple[tuple[float, float], list[pd.DataFrame]]:
    """Wall-clock and CPU-seconds, and the scores; `bank` adds those per prompt."""
    before, start = os.times(), time.perf_counter()
    tables = scan(index, 0, queries, bank=bank)
    wall, after = time.perf_counter() - start, os.times()
    return (wall, after.user + after.system - before.user - before.system), tables


def _write(folder: Path, pairs: int) -> tuple[float, VectorIndex]:
    start = time.perf_counter()
    (folder / "shards").mkdir()
    bounds = [*range(0, pairs, IN_SHARD), pairs]
    shards = tuple(Shard(f"{i:05d}", a, b, 0) for i, (a, b) in enumerate(pairwise(bounds)))
    random = np.random.default_rng(0)
    for number, shard in enumerate(shards):
        n = shard.stop - shard.start
        if number < DISTINCT or n < IN_SHARD:
            vectors = random.normal(size=(3, n, WIDTH))
            write_vectors(folder, shard.name, 0, vectors.astype(np.float32))
        else:
            _copy(folder, shards[number % DISTINCT].name, shard.name)
    manifest = Manifest("m", "t", "p", (0,), WIDTH, 0, "float32", 0, pairs, 0, shards)
    write_manifest(folder, manifest)
    uids = pd.DataFrame({"uid": [f"pair-{i}" for i in range(pairs)]})
    uids.to_parquet(folder / "pairs.parquet")
    index = VectorIndex.open(folder)
    save_mean_contexts(index)  # as the index step does
    return time.perf_counter() - start, index


def _copy(folder: Path, source: str, name: str) -> None:
    for suffix in (".npy", ".json"):
        shutil.copyfile(
            (folder / "shards" / array_name(source, 0)).with_suffix(suffix),
            (folder / "shards" / array_name(name, 0)).with_suffix(suffix),
        )


def _drop_cache(folder: Path) -> bool:
    """Ask the system to drop the shards from its page cache; False if it cannot be asked."""
    if not hasattr(os, "posix_fadvise"):
        return False
    for path in folder.rglob("*.npy"):
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return True


def _queries() -> list[Query]:
    random = np.random.default_rng(1)

    def rows() -> np.ndarray:
        return random.normal(size=(PROMPTS, WIDTH)).astype(np.float32)

    vectors = [(rows(), rows()) for _ in range(BEHAVIORS)]
    return [
        Query(behavior, context, behavior.mean(axis=0), rows()[0]) for behavior, context in vectors
    ]
