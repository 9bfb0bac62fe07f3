"""Build a behavior's vector from completions; order the pairs by how far each pushes to it."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.attribution import concentration
from core.attribution.completions import completion_activations
from core.attribution.concentration import Concentration
from core.attribution.index.layout import VectorIndex
from core.attribution.similarity import scan
from core.attribution.threshold import suggest
from core.attribution.validity import choose_layer, layer_curve, verdict
from core.attribution.vectors import (
    Activations,
    BehaviorVectors,
    Passing,
    passing_prompts,
    pooled,
    query_at,
    showing,
)
from core.errors import UserError
from core.models.loading import load_model
from core.runs.index_pairs import indexed_pairs
from core.runs.progress import Progress
from core.runs.store import Store
from core.specs.scores import IN_WORDS
from core.specs.steps import DiscoverSpec, GenerateSpec, RankSpec
from core.storage.tables import whole


def run(spec: RankSpec, *, store: Store, output: Path, progress: Progress) -> None:
    """Write ranking, vectors, layer curve and summary (docs/architecture.md)."""
    index = matching_index(spec, store)
    completions = whole(store.output(spec.generate) / "completions.parquet")
    passing = passing_prompts(completions, spec.behavior)
    own = completions["prompt_id"].isin(passing.prompt_ids)
    own &= completions["condition"].eq(spec.behavior.condition)
    activations = read(spec, store, index, completions[own], progress)
    vectors = showing(activations, spec.behavior, passing.prompt_ids)
    curve = layer_curve(vectors, activations, spec.behavior)
    layer = choose_layer(curve) if spec.layer is None else spec.layer
    progress(0, 1, "scoring pairs")
    ranking = rank(spec, index, vectors, layer)
    _write(output, spec, vectors, layer, curve, ranking)
    progress(0, 1, "comparing with random directions")
    found = concentrate(spec, store, index, vectors, layer, output)
    summary = summarise(spec, passing, curve, layer, ranking)
    if not summary["valid"]:
        found = concentration.undecided(found)
    summary["concentration"] = asdict(found)
    (output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    progress(1, 1, "scored pairs")


def matching_index(spec: RankSpec | DiscoverSpec, store: Store) -> VectorIndex:
    """The index of a spec; refused if another model than the run's reference read it."""
    reference = store.record(spec.generate)["contents"]["reference"]
    index = VectorIndex.open(store.output(spec.index), model_hash=reference)
    if spec.layer is not None and spec.layer not in index.layers:
        known = ", ".join(map(str, index.layers))
        raise UserError(f"layer {spec.layer} is not in {spec.index}, which holds layers {known}.")
    return index


def read(
    spec: RankSpec | DiscoverSpec,
    store: Store,
    index: VectorIndex,
    completions: pd.DataFrame,
    progress: Progress,
    layers: tuple[int, ...] | None = None,
) -> Activations:
    """Completions, through the reference, at the layers of the index (or some of them)."""
    generate = store.spec(spec.generate)
    assert isinstance(generate, GenerateSpec)
    layers = layers or index.layers
    loaded = load_model(
        store.model(generate.reference), dtype=index.manifest.dtype, blocks=max(layers)
    )
    activations = completion_activations(
        loaded,
        completions,
        layers,
        progress=lambda done, total: progress(done, total, "reading prompts' completions"),
    )
    _refuse_non_finite(activations, spec.generate)
    return activations


def _refuse_non_finite(activations: Activations, generate: str) -> None:
    bad = np.asarray(~np.isfinite(activations.means).all(axis=(1, 2)))
    if bad.any():
        first = activations.completions.iloc[int(bad.argmax())]
        raise UserError(
            f"{generate}: the reference's activations are not finite on {int(bad.sum())} of "
            f"{len(bad)} completions, first on prompt {first['prompt_id']!r}, rollout "
            f"{first['rollout']}. Index with --dtype float32, or check the reference's weights."
        )


def rank(spec: RankSpec, index: VectorIndex, vectors: BehaviorVectors, layer: int) -> pd.DataFrame:
    """All pairs with their scores, best by the spec's method first; undefined ones last."""
    used = averaged(index.layers) if spec.average_layers else (layer,)
    tables = [_scan(spec, index, vectors, number) for number in used]
    scores = tables[0][["uid", *IN_WORDS, "norm"]]
    if len(tables) > 1:
        columns = [*IN_WORDS, "norm"]
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


def averaged(layers: Sequence[int]) -> tuple[int, ...]:
    """The layers that an average is taken over: all but the embeddings, if there are others."""
    return tuple(layer for layer in layers if layer > 0) or tuple(layers)


def _scan(spec: RankSpec, index: VectorIndex, vectors: BehaviorVectors, layer: int) -> pd.DataFrame:
    query = query_at(vectors, layer, spec.pooling)
    if not query.pooled.any():
        raise UserError(
            f"{spec.behavior.name!r}: policy and reference completions have the same mean at layer "
            f"{layer}, so there is no direction to rank by. Choose another layer."
        )
    (scores,) = scan(index, layer, [query], centered=spec.centered)
    return scores


def concentrate(
    spec: RankSpec,
    store: Store,
    index: VectorIndex,
    vectors: BehaviorVectors,
    layer: int,
    output: Path,
) -> Concentration:
    """Is the behavior sparse or diffuse at this layer? Writes the curve; returns the verdict."""
    query = query_at(vectors, layer, spec.pooling)
    scores = concentration.attribution(
        index, layer, query, method=spec.method, centered=spec.centered
    )
    null = concentration.random_directions(index, layer, query, centered=spec.centered)
    held = concentration.curve(scores, null)
    held.to_parquet(output / "concentration.parquet", index=False)
    alike = concentration.lookalikes(index, layer, scores, _sources(spec, store, index))
    return concentration.assess(scores, alike)


def _sources(spec: RankSpec, store: Store, index: VectorIndex) -> NDArray[np.object_]:
    """The source of every pair, in index order."""
    source = indexed_pairs(spec.index, store)["source"]
    ordered: NDArray[np.object_] = source.reindex(index.uids.tolist()).to_numpy(object)
    return ordered


def summarise(
    spec: RankSpec, passing: Passing, curve: pd.DataFrame, layer: int, ranking: pd.DataFrame
) -> dict[str, object]:
    """summary.json."""
    cut = suggest(ranking[spec.method].to_numpy())
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
