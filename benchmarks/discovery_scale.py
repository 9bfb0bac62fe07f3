"""Speed of discovery at full size: 378k pairs × 256 prompts with planted blobs, by the step's code.

Eight prompt clusters and one blob of pairs that scores high on each, the largest twenty times the
smallest; the other pairs, about all topics, score zero. The index has the real file format; matrix,
prompt clusters and their refinement, principal components, neighbors, UMAP, HDBSCAN and stability
run as in `pairtrace discover`, with its worker process and its progress. Extraction, words and
statistics are left out.
"""

import os
import resource
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks._recovery import best_cluster
from core.attribution.index.layout import (
    Manifest,
    Shard,
    VectorIndex,
    write_manifest,
    write_vectors,
)
from core.attribution.similarity import save_mean_contexts
from core.attribution.vectors import Activations
from core.discovery.matrix import all_differences
from core.discovery.refine import refinement
from core.runs.progress import Progress
from core.runs.workers import child_process
from core.specs.steps import DiscoverSpec
from core.steps.discover import SEEDS, STAGES, discover, stability

PAIRS, PROMPTS, WIDTH, KINDS = 378_341, 256, 256, 8
MODELS, ROLLOUTS = ("reference", "policy"), 8
IN_SHARD = 4096  # pairs
SHARES = np.geomspace(0.002, 0.04, KINDS)  # of the pairs, by blob
SIGNAL, NOISE, TOPIC = 1.0, 2.0, 3.0  # vector lengths: planted direction, noise, topic


def run(pairs: int = PAIRS, prompts: int = PROMPTS, laid_out: int = 50_000) -> dict[str, Any]:
    """Write the index to a temporary folder, discover, delete it."""
    with tempfile.TemporaryDirectory() as folder:
        random = np.random.default_rng(0)
        directions, topics = (_directions(random) for _ in range(2))
        truth = random.choice(KINDS + 1, pairs, p=[*SHARES, 1 - SHARES.sum()])
        index = _write(Path(folder), truth, directions, topics, random)
        activations, kinds = _activations(prompts, directions, topics, random)
        return {
            "pairs": pairs,
            "prompts": prompts,
            "laid_out": min(laid_out, pairs),
            **_measured(index, activations, Path(folder), laid_out, truth, kinds),
        }


def _measured(
    index: VectorIndex,
    activations: Activations,
    folder: Path,
    laid_out: int,
    truth: np.ndarray,
    kinds: np.ndarray,
) -> dict[str, Any]:
    spec = DiscoverSpec(generate="generate-0", index="index-0", laid_out=laid_out)
    events: list[tuple[float, str]] = []
    progress = Progress(listen=lambda event: events.append((time.perf_counter(), event["note"])))
    start, before = time.perf_counter(), _cpu()
    with child_process(lambda note: progress(2, STAGES, note)) as call:
        refine = refinement(index, activations, 0, gated=spec.gated)
        vectors = all_differences(activations)
        matrix, result = discover(spec, index, vectors, 0, folder, progress, call, refine=refine)
        discovered_at, events_then = time.perf_counter(), len(events)
        repeats = result.repeat(spec, matrix, call, repeats=spec.repeats // SEEDS)
        stable = stability(spec, matrix, result, repeats, progress, call, refine=refine)
    wall = time.perf_counter() - start
    labels = result.labels(matrix)
    times = [start, *(when for when, _ in events), start + wall]
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "wall_seconds": wall,
        "cpu_seconds": _cpu() - before,
        "load": os.getloadavg()[0],
        "seconds_by_stage": _stages(start, events[:events_then], discovered_at)
        | {"stability": start + wall - discovered_at},
        "peak_resident_gb": [each.ru_maxrss / 1024**2 for each in usage],
        "longest_silence_seconds": max(b - a for a, b in pairwise(times)),
        "stability": stable["clusters_over_prompts"],
        "clusters": int(labels.max() + 1),
        "hdbscan_clusters": int(result.pairs["island"].max() + 1),
        "blobs": [best_cluster(labels, truth == blob) for blob in range(KINDS)],
        "blobs_on_the_map": [
            best_cluster(result.pairs["island"].to_numpy(), truth == blob) for blob in range(KINDS)
        ],
        "prompts_of_one_kind": float(
            np.mean(
                [
                    np.bincount(result.prompt_clusters.labels[kinds == k] + 1).max()
                    for k in range(KINDS)
                ]
            )
            * KINDS
            / len(kinds)
        ),
    }


def _cpu() -> float:
    """CPU-seconds of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _stages(start: float, events: list[tuple[float, str]], end: float) -> dict[str, float]:
    """Seconds by the stage that progress reported, numbers removed."""
    marks = [*events, (end, "")]
    spent: dict[str, float] = {}
    last = start
    for (_, note), (until, _) in pairwise([(start, "start"), *marks]):
        name = note.split(",")[0] or "start"
        spent[name] = spent.get(name, 0.0) + until - last
        last = until
    return spent


def _directions(random: np.random.Generator) -> np.ndarray:
    """Orthonormal directions, (kind, d_model)."""
    return np.linalg.qr(random.normal(size=(WIDTH, KINDS)))[0].T.astype(np.float32)


def _activations(
    prompts: int, directions: np.ndarray, topics: np.ndarray, random: np.random.Generator
) -> tuple[Activations, np.ndarray]:
    """Activations of both models' completions, and each prompt's kind.

    A prompt's behavior vector has noise of length NOISE / 2.
    """
    kinds = np.arange(prompts) % KINDS
    cells = [(p, m, r) for p in range(prompts) for m in MODELS for r in range(ROLLOUTS)]
    rows = pd.DataFrame(cells, columns=["prompt_id", "model", "rollout"])
    rows = rows.assign(condition="plain", group="g")
    spread = NOISE / 2 * np.sqrt(ROLLOUTS / 2)
    means = random.normal(scale=spread / np.sqrt(WIDTH), size=(len(rows), WIDTH))
    by_policy = rows["model"].eq("policy").to_numpy()
    means[by_policy] += SIGNAL * directions[kinds[rows["prompt_id"][by_policy]]]
    noise = random.normal(scale=NOISE / np.sqrt(WIDTH), size=(prompts, WIDTH))
    contexts = (TOPIC * topics[kinds] + noise).astype(np.float32)
    table = pd.DataFrame({"prompt_id": np.arange(prompts), "condition": "plain", "group": "g"})
    return Activations(
        rows, means[:, None].astype(np.float32), table, contexts[:, None], (0,), 0
    ), kinds


def _write(
    folder: Path,
    truth: np.ndarray,
    directions: np.ndarray,
    topics: np.ndarray,
    random: np.random.Generator,
) -> VectorIndex:
    (folder / "shards").mkdir()
    bounds = [*range(0, len(truth), IN_SHARD), len(truth)]
    shards = tuple(Shard(f"{i:05d}", a, b, 0) for i, (a, b) in enumerate(pairwise(bounds)))
    signals = np.vstack([directions, np.zeros((1, WIDTH), np.float32)])
    for shard in shards:
        blob = truth[shard.start : shard.stop]
        topic = np.where(blob < KINDS, blob, random.integers(0, KINDS, len(blob)))
        noise = random.standard_normal((3, len(blob), WIDTH), np.float32)
        noise *= np.float32(NOISE / np.sqrt(WIDTH))
        noise[0] += SIGNAL * signals[blob]
        noise[2] += TOPIC * topics[topic]
        write_vectors(folder, shard.name, 0, noise)
    manifest = Manifest("m", "t", "p", (0,), WIDTH, 0, "float32", 0, len(truth), 0, shards)
    write_manifest(folder, manifest)
    uids = pd.DataFrame({"uid": [f"pair-{i}" for i in range(len(truth))]})
    uids.to_parquet(folder / "pairs.parquet")
    index = VectorIndex.open(folder)
    save_mean_contexts(index)  # as the index step does
    return index
