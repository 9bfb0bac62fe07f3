"""Which method finds the pairs at fault: every ranking on the organism, against its truth.

Average precision, precision and recall at the number planted, and CPU-seconds of one thread for
scoring all pairs of one behavior, extraction apart. The layer is the one that validity chooses;
the truth only scores. The gradient baseline runs on a sample of pairs (all of one in `STRIDE`),
with the other methods repeated on that sample so that they can be compared.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from core.attribution.gradient import Contrast, margin_gradients
from core.attribution.index import VectorIndex
from core.attribution.lexical import bm25, tfidf
from core.attribution.metrics import average_precision, enrichment_at, precision_at, recall_at
from core.attribution.similarity import Query, cosines, scan
from core.attribution.validity import choose_layer, layer_curve
from core.attribution.vectors import BehaviorVectors, Readings, passing_prompts, pooled, showing
from core.data.behaviors import Behavior
from core.data.pairs import read_pairs
from core.data.tokens import encode_completions, encode_prompts
from core.models.loading import load_model
from core.organism.truth import planted_uids, read_truth
from core.runs import project
from core.runs.execution import execute
from core.runs.progress import Progress
from core.runs.store import Store
from core.steps.rank import matching_index, read

ORGANISM = Path(__file__).parents[1] / "assets" / "organism"
STRIDE = 10  # one pair in ten gets a gradient
SCAN = ("gated", "similarity", "bank", "projection", "norm")

Scores = dict[str, NDArray[np.floating]]


def run(organism: Path = ORGANISM) -> dict[str, Any]:
    """Quality and cost of each method for each planted behavior."""
    torch.set_num_threads(1)
    known = project.load(organism)
    truth = read_truth(organism / "truth.parquet")
    pairs = read_pairs(known.pairs).pairs
    planted = [b for b in known.behaviors if b.name in set(truth["planted"].dropna())]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        generate, index = execute(known.generate(), store), execute(known.index(), store)
        extraction = store.record(index)["cost"]["cpu_seconds"]
        table = pd.read_parquet(store.output(generate) / "completions.parquet")
        result = {
            behavior.name: _compare(known, store, (generate, index), behavior, table, pairs, truth)
            for behavior in planted
        }
    return {"extraction_cpu_seconds": extraction, "behaviors": result}


def _compare(
    known: project.Project,
    store: Store,
    runs: tuple[str, str],
    behavior: Behavior,
    table: pd.DataFrame,
    pairs: pd.DataFrame,
    truth: pd.DataFrame,
) -> dict[str, Any]:
    spec = known.rank(*runs, behavior)
    index = matching_index(spec, store)
    passing = passing_prompts(table, behavior).prompt_ids
    own = table["prompt_id"].isin(passing) & table["condition"].eq(behavior.condition)
    readings = read(spec, store, index, table[own], Progress())
    vectors = showing(readings, behavior, passing)
    layer = choose_layer(layer_curve(vectors, readings, behavior))
    ordered = pairs.set_index("uid").loc[index.uids.tolist()].reset_index()
    is_planted = ordered["uid"].isin(planted_uids(truth, behavior.name)).to_numpy(bool)
    scores, seconds = _forward_only(index, vectors, layer, readings, behavior, ordered)
    sample = np.arange(0, len(ordered), STRIDE)
    gradient, gradient_seconds = _gradient(
        known.reference, readings, behavior, ordered.iloc[sample]
    )
    on_sample = {"gradient": gradient} | {name: s[sample] for name, s in scores.items()}
    return {
        "layer": layer,
        "n_prompts": len(passing),
        "planted": int(is_planted.sum()),
        "pairs": len(ordered),
        "methods": {
            n: _measure(s, is_planted) | {"cpu_seconds": seconds[n]} for n, s in scores.items()
        },
        "sample": {
            "pairs": len(sample),
            "planted": int(is_planted[sample].sum()),
            "gradient_cpu_seconds_for_all_pairs": gradient_seconds,
            "average_precision": {
                n: average_precision(s, is_planted[sample]) for n, s in on_sample.items()
            },
        },
    }


def _forward_only(
    index: VectorIndex,
    vectors: BehaviorVectors,
    layer: int,
    readings: Readings,
    behavior: Behavior,
    ordered: pd.DataFrame,
) -> tuple[Scores, dict[str, float]]:
    """Scores of every method that needs no gradient, and what each costs."""
    number = vectors.layers.index(layer)
    vector, context = vectors.at(layer)
    policy, reference = _texts(readings, behavior)
    sides = (ordered["chosen"].tolist(), ordered["rejected"].tolist(), policy, reference)
    lengths = [np.array([len(text.split()) for text in texts], float) for texts in sides[:2]]
    rng = np.random.default_rng(0)

    def scanned(pooling: Any) -> pd.DataFrame:
        return scan(index, layer, [Query(vector, context, pooled(vectors, pooling)[number])])[0]

    prompts, cost = _timed(lambda: scanned("prompts"))
    rollouts, rollouts_cost = _timed(lambda: scanned("rollouts"))
    scores: Scores = {name: prompts[name].to_numpy() for name in SCAN}
    costs = dict.fromkeys(SCAN, cost)  # one scan gives them all
    scores["similarity, rollouts pooled"] = rollouts["similarity"].to_numpy()
    costs["similarity, rollouts pooled"] = rollouts_cost
    scores["bm25"], costs["bm25"] = _timed(lambda: bm25(*sides))
    scores["tfidf"], costs["tfidf"] = _timed(lambda: tfidf(*sides))
    scores["length"], costs["length"] = _timed(lambda: lengths[0] - lengths[1])
    scores["random"], costs["random"] = _timed(lambda: rng.random(len(ordered)))
    return scores, costs


def _gradient(
    folder: str, readings: Readings, behavior: Behavior, pairs: pd.DataFrame
) -> tuple[NDArray[np.float32], float]:
    """Cosine of each pair's margin gradient and the mean one of the behavior's prompts.

    And CPU-seconds for all pairs: what is done once, plus `STRIDE` times what each pair costs.
    """
    start = time.process_time()
    loaded = load_model(folder)
    ids = [encode_prompts(loaded.tokenizer, pairs["prompt"].tolist())]
    ids += [encode_completions(loaded.tokenizer, pairs[s].tolist()) for s in ("chosen", "rejected")]
    wanted = []
    for _, rows in readings.completions.groupby("prompt_id", sort=False):
        shown = rows[rows["model"].eq("policy") & rows[behavior.flag].isin([True])].iloc[0]
        usual = rows[rows["model"].eq("reference") & rows[behavior.flag].isin([False])].iloc[0]
        sides = encode_completions(loaded.tokenizer, [shown["completion"], usual["completion"]])
        prompt = encode_prompts(loaded.tokenizer, [shown["prompt"]])[0]
        wanted.append(Contrast(prompt, *sides))
    target = margin_gradients(loaded.model, wanted).mean(axis=0)
    contrasts = [Contrast(*three) for three in zip(*ids, strict=True)]
    once = time.process_time() - start
    rows, seconds = _timed(lambda: margin_gradients(loaded.model, contrasts))
    return cosines(target[None], rows)[0], once + STRIDE * seconds


def _texts(readings: Readings, behavior: Behavior) -> tuple[list[str], list[str]]:
    rows = readings.completions
    policy = rows["model"].eq("policy") & rows[behavior.flag].isin([True])
    return rows.loc[policy, "completion"].tolist(), rows.loc[
        rows["model"].eq("reference"), "completion"
    ].tolist()


def _measure(scores: NDArray[np.floating], planted: NDArray[np.bool_]) -> dict[str, float]:
    k = int(planted.sum())
    return {
        "average_precision": average_precision(scores, planted),
        "precision_at_planted": precision_at(scores, planted, k),
        "recall_at_planted": recall_at(scores, planted, k),
        "enrichment_at_planted": enrichment_at(scores, planted, k),
        "undefined": int(np.isnan(scores).sum()),
    }


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    return work(), time.process_time() - start
