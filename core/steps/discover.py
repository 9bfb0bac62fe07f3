"""The discover step: map and clusters of the prompt × pair matrix, without a behavior named."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.attribution.contributions import Floats, Streams, explain, in_a_line, spans, words
from core.attribution.index.layout import VectorIndex
from core.attribution.similarity import Query, mean_context, mean_vector
from core.attribution.vectors import BehaviorVectors
from core.discovery.alarms import rate_changes
from core.discovery.cluster_stats import ATTRIBUTION, attribution, source_enrichment
from core.discovery.cluster_table import STOP_WORDS, cluster_table
from core.discovery.matrix import Matrix, all_differences, build_matrix
from core.discovery.pipeline import Discovery, Repeats, analyse
from core.discovery.recut import REPEATS, SCORES, recut
from core.discovery.refine import Refine, refinement
from core.discovery.stability import agreement, over_prompts, recovered
from core.errors import UserError
from core.runs.progress import Progress
from core.runs.store import Store
from core.runs.workers import Call, child_process
from core.specs.steps import DiscoverSpec, IndexSpec
from core.steps.explain import pieces_of_pairs
from core.steps.shared import matching_index, read_completions, reference_activations

STAGES = 5
READ = 20  # pairs of a cluster that its name is read from
SEEDS = 5  # draws of prompts for every other seed of the map


def run(spec: DiscoverSpec, *, store: Store, output: Path, progress: Progress) -> None:
    """Write maps, clusters, matrix and summary (docs/architecture.md)."""
    if spec.recut is not None:
        _recut(spec, store, output, progress)
        return
    index = matching_index(spec, store)
    layer = default_layer(index) if spec.layer is None else spec.layer
    completions = read_completions(spec.generate, store)
    activations = reference_activations(spec, store, index, completions, progress, layers=(layer,))
    with child_process(lambda note: progress(2, STAGES, note)) as call:
        refine = refinement(index, activations, layer, gated=spec.gated)
        vectors = all_differences(activations)
        matrix, discovery = discover(
            spec, index, vectors, layer, output, progress, call, refine=refine
        )
        progress(3, STAGES, "stability")
        repeats = discovery.repeat(spec, matrix, call, repeats=spec.repeats // SEEDS)
        stable = stability(spec, matrix, discovery, repeats, progress, call, refine=refine)
        progress(4, STAGES, "words of the clusters")
        pairs = store.index_pairs(spec.index)  # pages use the copy that this leaves
        clusters = cluster_table(matrix, discovery, pairs, call)
    names = names_by_spans(spec, clusters, discovery, index, vectors, layer, store, progress)
    clusters["suggested_name"] = clusters["cluster"].map(names).fillna(clusters["suggested_name"])
    clusters["stability"] = clusters["cluster"].map(stable.pop("by_cluster"))
    labels = discovery.pairs["cluster"].to_numpy()
    shares = attribution(discovery.pairs["uid"], index, activations, layer)
    tables = {
        "clusters": clusters,
        "tree": discovery.tree.nodes,
        "sources": source_enrichment(labels, pairs["source"].loc[matrix.uids.tolist()]),
        "changes": rate_changes(completions, discovery.prompts),
        "contributions": shares.of_clusters(labels),
    }
    np.save(output / SCORES, discovery.prompt_clusters.scores)
    np.save(output / ATTRIBUTION, shares.shares)
    np.savez(output / REPEATS, **repeats._asdict())
    summary = discovery.summary(matrix) | {"stability": stable}
    summary |= {"layer": layer, "n_completions_empty": activations.n_empty}
    discovery.write(output, tables, summary)
    progress(STAGES, STAGES, f"{summary['n_clusters']} clusters")


def names_by_spans(
    spec: DiscoverSpec,
    clusters: pd.DataFrame,
    discovery: Discovery,
    index: VectorIndex,
    vectors: BehaviorVectors,
    layer: int,
    store: Store,
    progress: Progress,
) -> dict[int, str]:
    """Per cluster, the words that its strongest pairs teach its prompt cluster, and which prompts.

    Their score there is split over words (core.attribution.contributions); a sequence of words
    needs one that is no stop word. A cluster without any is left out.
    """
    behavior, context = vectors.at(layer)
    rows = clusters[clusters["cluster"].ge(0) & clusters["prompt_cluster"].notna()]
    members = discovery.pairs.sort_values("strength", ascending=False, kind="stable")
    members = members[members["cluster"].isin(rows["cluster"])].groupby("cluster").head(READ)
    if members.empty:
        return {}
    queries = {}
    for cluster, prompts in rows.set_index("cluster")["prompt_cluster"].items():
        at = discovery.prompts["cluster"].eq(prompts).to_numpy()
        queries[cluster] = Query(behavior[at], context[at], behavior[at].mean(axis=0))
    mean, difference = mean_context(index, layer), mean_vector(index, layer, "datapoint")
    m = mean_vector(index, layer, "chosen") - difference / np.float32(2)
    of_pairs = members["cluster"].tolist()

    def values(number: int, streams: list[Floats]) -> Floats:
        pair = Streams(*(part[:, 0] for part in streams))
        split = explain(pair, queries[of_pairs[number]], "gated", mean=mean, m=m)
        return np.concatenate([split.chosen, split.rejected])

    every = store.index_pairs(spec.index)
    made, pairs = store.spec(spec.index, IndexSpec), every.rows(every.positions(members["uid"]))
    tokens = pieces_of_pairs(made, index, (layer,), pairs, values, store, progress).dropna()
    tokens["cluster"] = tokens["uid"].map(dict(zip(members["uid"], of_pairs, strict=True)))
    names = {}
    for row in rows.to_dict("records"):
        best = spans(words(tokens[tokens["cluster"].eq(row["cluster"])]))
        telling = [not set(span.split()) <= set(STOP_WORDS) for span in best["span"]]
        if line := in_a_line(best[np.array(telling, bool)], each=1):
            condition = "" if row["top_condition"] == "plain" else f", {row['top_condition']}"
            names[row["cluster"]] = f"{line} · prompts: {row['top_group']}{condition}"
    return names


def _recut(spec: DiscoverSpec, store: Store, output: Path, progress: Progress) -> None:
    """The map of an earlier run with other clusters; the settings must be that run's."""
    assert spec.recut is not None
    assert spec.level is not None
    earlier = store.spec(spec.recut, DiscoverSpec)
    if earlier != spec.model_copy(update={"recut": None, "level": None}):
        raise UserError(
            f"{spec.recut} was made with other settings or inputs. Leave them out, or give the "
            "same: cutting a map again changes nothing but its level."
        )
    progress(0, 1, "cutting the tree")
    with child_process(lambda note: progress(0, 1, note)) as call:
        base, pairs = store.output(spec.recut), store.index_pairs(spec.index)
        recut(base, output, spec, spec.level, pairs, call)
    progress(1, 1, "cut")


def discover(
    spec: DiscoverSpec,
    index: VectorIndex,
    vectors: BehaviorVectors,
    layer: int,
    output: Path,
    progress: Progress,
    call: Call,
    *,
    refine: Refine,
) -> tuple[Matrix, Discovery]:
    """The matrix, written to `output`, and what is found in it."""
    matrix = build_matrix(
        index,
        vectors,
        layer,
        gated=spec.gated,
        path=output / "matrix.npy",
        report=lambda done, total: progress(done, total + 1, "matrix of prompts and pairs"),
    )
    matrix = replace(matrix, before_block=lambda: progress(1, STAGES, "prompt clusters"))
    return matrix, analyse(
        matrix,
        spec,
        call,
        lambda done, total: progress(2 * total + done, STAGES * total, "nearest neighbors"),
        refine=refine,
    )


def default_layer(index: VectorIndex) -> int:
    """Five eighths up the index, as in the paper: layer 20 of 32."""
    return index.layers[len(index.layers) * 5 // 8]


def stability(
    spec: DiscoverSpec,
    matrix: Matrix,
    discovery: Discovery,
    repeats: Repeats,
    progress: Progress,
    call: Call,
    *,
    refine: Refine,
) -> dict[str, Any]:
    """Agreement over draws of prompts and over seeds of the map, and of each cluster."""
    matrix = replace(matrix, before_block=lambda: progress(3, STAGES, "draws of prompts"))
    labels = discovery.labels(matrix)
    drawn: list[Any] = []
    if spec.cluster_by == "push":
        drawn = over_prompts(
            matrix,
            spec.kinds,
            repeats=spec.repeats,
            seed=spec.seed,
            report=lambda done, total: progress(3, STAGES, f"draw of prompts {done} of {total}"),
            refine=refine,
        )
    by_seed = [clustering.labels for clustering in repeats.clusterings(spec, call)]
    others, sample = by_seed[1:], discovery.pairs["cluster"].to_numpy()[repeats.rows]
    return {
        "by_cluster": recovered(labels, drawn) if drawn else recovered(sample, others),
        "clusters_over_prompts": agreement(labels, drawn),
        "islands_over_seeds": agreement(by_seed[0], others) if others else {"n": 0},
    }
