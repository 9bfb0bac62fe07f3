"""The rank step: behavior vectors from completions, and the pairs in the order of their scores."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from core.attribution import concentration
from core.attribution.concentration import Concentration, otsu_cutoff
from core.attribution.index.layout import VectorIndex
from core.attribution.similarity import scan
from core.attribution.validity import choose_layer, layer_curve, verdict
from core.attribution.vectors import (
    Activations,
    BehaviorVectors,
    Passing,
    behavior_vectors,
    completions_to_read,
    passing_prompts,
    pooled,
    query_at,
)
from core.errors import UserError
from core.runs.progress import Progress
from core.runs.store import Store
from core.specs.behaviors import SCORE_NAMES
from core.specs.steps import RankSpec
from core.steps.shared import (
    matching_index,
    read_completions,
    reference_activations,
    write_summary,
)


def run(spec: RankSpec, *, store: Store, output: Path, progress: Progress) -> None:
    """Write ranking, vectors, layer curve and summary (docs/architecture.md)."""
    index = matching_index(spec, store)
    passing, activations, vectors = vectors_of(spec, store, index, progress)
    curve = layer_curve(vectors, activations, spec.behavior)
    layer = choose_layer(curve) if spec.layer is None else spec.layer
    progress(0, 1, "scoring pairs")
    ranking = rank(spec, index, vectors, layer)
    _write(output, spec, vectors, layer, curve, ranking)
    progress(0, 1, "comparing with random directions")
    sparsity = _concentration(spec, store, index, vectors, layer, output)
    summary = _summary(spec, passing, curve, layer, ranking)
    if not summary["valid"]:
        sparsity = concentration.undecided(sparsity)
    write_summary(output, summary | {"concentration": asdict(sparsity)})
    progress(1, 1, "scored pairs")


def vectors_of(
    spec: RankSpec, store: Store, index: VectorIndex, progress: Progress
) -> tuple[Passing, Activations, BehaviorVectors]:
    """The prompts that show the behavior, their completions' activations, and its vectors."""
    completions = read_completions(spec.generate, store)
    passing = passing_prompts(completions, spec.behavior)
    used = completions_to_read(completions, spec.behavior, passing.prompt_ids)
    activations = reference_activations(spec, store, index, completions[used], progress)
    vectors = behavior_vectors(activations, spec.behavior, passing.prompt_ids)
    return passing, activations, vectors


def rank(spec: RankSpec, index: VectorIndex, vectors: BehaviorVectors, layer: int) -> pd.DataFrame:
    """All pairs with their scores, best by the spec's method first; undefined ones last."""
    layers = scored_layers(spec, index, layer)
    tables = [_scan(spec, index, vectors, number) for number in layers]
    scores = tables[0][["uid", *SCORE_NAMES, "norm"]]
    if len(tables) > 1:
        columns = [*SCORE_NAMES, "norm"]
        scores[columns] = np.mean([table[columns] for table in tables], axis=0)
    if scores[spec.method].isna().all():
        raise UserError(
            f"No pair has a score for {spec.behavior.name!r} at layer {layer}: every datapoint or "
            "context vector is the same or zero. Choose another layer, or check that chosen and "
            "rejected differ."
        )
    return scores.sort_values(
        spec.method, ascending=False, kind="stable", na_position="last", ignore_index=True
    )


def scored_layers(spec: RankSpec, index: VectorIndex, layer: int) -> tuple[int, ...]:
    """The layers whose scores are averaged: all but the embeddings, if there are others."""
    if not spec.average_layers:
        return (layer,)
    return tuple(number for number in index.layers if number > 0) or tuple(index.layers)


def _scan(spec: RankSpec, index: VectorIndex, vectors: BehaviorVectors, layer: int) -> pd.DataFrame:
    query = query_at(vectors, layer, spec.pooling)
    if not query.pooled.any():
        raise UserError(
            f"{spec.behavior.name!r}: policy and reference completions have the same mean at layer "
            f"{layer}, so there is no direction to rank by. Choose another layer."
        )
    (scores,) = scan(index, layer, [query], centered=spec.centered)
    return scores


def _concentration(
    spec: RankSpec,
    store: Store,
    index: VectorIndex,
    vectors: BehaviorVectors,
    layer: int,
    output: Path,
) -> Concentration:
    """Whether the behavior is sparse or diffuse at a layer; writes the curve behind it."""
    query = query_at(vectors, layer, spec.pooling)
    scores = concentration.attribution(
        index, layer, query, method=spec.method, centered=spec.centered
    )
    null = concentration.random_directions(index, layer, query, centered=spec.centered)
    curve = concentration.curve(scores, null)
    curve.to_parquet(output / "concentration.parquet", index=False)
    sources = store.index_pairs(spec.index)["source"].reindex(index.uids.tolist())
    matched = concentration.lookalikes(index, layer, scores, sources.to_numpy(object))
    return concentration.assess(scores, matched)


def _summary(
    spec: RankSpec, passing: Passing, curve: pd.DataFrame, layer: int, ranking: pd.DataFrame
) -> dict[str, object]:
    """The content of `summary.json`."""
    cut = otsu_cutoff(ranking[spec.method].to_numpy())
    valid, why = verdict(curve[curve["layer"].eq(layer)].iloc[0].to_dict())
    return {
        "behavior": spec.behavior.name,
        "method": spec.method,
        "layer": layer,
        "averaged_layers": spec.average_layers,
        "n_prompts": passing.n_prompts,
        "n_prompts_passed": len(passing.prompt_ids),
        "filter": passing.met,
        "filter_used": passing.filter,
        "n_pairs": len(ranking),
        "n_undefined": int(ranking[spec.method].isna().sum()),
        "suggested_k": cut.k,
        "suggested_threshold": cut.threshold if cut.k else None,
        "separation": cut.separation,
        "valid": valid,
        "verdict": why,
    }


def _write(
    output: Path,
    spec: RankSpec,
    vectors: BehaviorVectors,
    layer: int,
    curve: pd.DataFrame,
    ranking: pd.DataFrame,
) -> None:
    behavior, context = vectors.at(layer)
    ranking.to_parquet(output / "ranking.parquet", index=False)
    curve.to_parquet(output / "layers.parquet", index=False)
    np.savez(
        output / "vectors.npz",
        prompt_ids=vectors.prompts["prompt_id"].to_numpy(str),
        behavior=behavior,
        context=context,
        pooled=pooled(vectors, spec.pooling)[vectors.layers.index(layer)],
        layer=layer,
    )
