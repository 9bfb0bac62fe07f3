"""How far each pair pushes towards a behavior: exact scans over the vectors on disk.

- similarity: s(d) = cos(b, v_d), the paper's score (arXiv 2602.11079)
- bank: max over prompts i of cos(b_i, v_d)
- gated: g(d) = s(d) · max(0, cos(c̄ − μ, c_d − μ)), c̄ the mean context of the behavior's prompts
  and μ the mean context of all pairs: the pair must also be about what the behavior is about
- bilinear: mean over prompts i of cos(b_i, v_d) · max(0, cos(c_i − μ, c_d − μ)), the gate prompt by
  prompt
- discriminant: the gated score with w in place of b, the direction that tells the policy's
  completions from the reference's (core.attribution.vectors)
- projection: b·v_d / |b|, in units of the residual stream

Blocks are memory-mapped and scored one at a time, for all behaviors at once, so memory does not
grow with the number of pairs beyond the scores themselves. A cosine with a zero vector does not
exist: it is NaN and stays NaN. Knows vectors only, not what they were made from.
"""

import io
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from core.attribution.index.layout import Block, VectorIndex
from core.geometry import norm, unit
from core.storage.atomic import write_atomic
from core.storage.tables import array

ROUNDING = 1e-5  # of a mean's length; far below what float16 shards tell apart
ROWS = 64  # converted at a time: a megabyte at d = 4096, which stays in a core's cache

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Query:
    """One behavior: its prompts' vectors and contexts, (n_prompts, d_model); `pooled`, (d_model,),
    their mean under the pooling that was chosen; `discriminant`, (d_model,), where it is known."""

    behavior: Floats
    context: Floats
    pooled: Floats
    discriminant: Floats | None = None


class Bank(NamedTuple):
    """One behavior prompt by prompt, (n_prompts, d_model), each of length 1."""

    behavior: Floats
    context: Floats  # less the mean context

    @property
    def known(self) -> NDArray[np.bool_]:
        """Prompts that have both vectors, (n_prompts,)."""
        known: NDArray[np.bool_] = ~np.isnan(self.behavior[:, 0]) & ~np.isnan(self.context[:, 0])
        return known


class Stack(NamedTuple):
    """Vectors to multiply pairs with, one below the other: a product of its own for each group
    would read the pairs again each time."""

    rows: Floats  # (n, d_model)
    cuts: NDArray[np.int64]  # rows at which all groups but the first begin

    @classmethod
    def of(cls, groups: Sequence[Floats]) -> "Stack":
        """All groups, (n_i, d_model) each."""
        return cls(np.concatenate(groups), np.cumsum([len(group) for group in groups[:-1]]))

    def products(self, vectors: Floats) -> list[Floats]:
        """Each group's products with (pair, d_model): (n_i, pair)."""
        return np.split(self.rows @ vectors.T, self.cuts)


def scan(
    index: VectorIndex,
    layer: int,
    queries: Sequence[Query],
    *,
    bank: bool = True,
    centered: bool = False,
) -> list[pd.DataFrame]:
    """For each query, every pair's `uid`, scores and `norm` (|v_d|), in index order.

    Without `bank` the columns that cost a product per prompt rather than per behavior, `bank` and
    `bilinear`, are left out. `centered` takes the mean datapoint vector of all pairs off each.
    """
    mean = mean_context(index, layer)
    middle = _mean(index, layer, "datapoint") if centered else np.zeros_like(mean)
    plain = unit(np.stack([query.pooled for query in queries]))
    told = [query.discriminant for query in queries if query.discriminant is not None]
    apart = [unit(np.stack(told))] if len(told) == len(queries) else []
    topics = unit(_less(np.stack([query.context.mean(axis=0) for query in queries]), mean)[0])
    banks = [Bank(unit(q.behavior), unit(_less(q.context, mean)[0])) for q in queries if bank]
    score = partial(
        _score,
        mean=mean,
        middle=middle,
        towards=Stack.of([plain, *apart, *(own.behavior for own in banks)]),
        about=Stack.of([topics, *(own.context for own in banks)]),
        known=[own.known for own in banks],
    )
    columns: list[dict[str, list[Floats]]] = [{} for _ in queries]
    # one block per core: BLAS's own threads would fight these and cost four times the CPU
    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as pool:
        for block_scores in pool.map(score, index.blocks(layer)):
            for number, scores in enumerate(block_scores):
                for name, values in scores.items():
                    columns[number].setdefault(name, []).append(values)
    return [
        pd.DataFrame({"uid": index.uids} | {name: np.concatenate(v) for name, v in made.items()})
        for made in columns
    ]


def matrix(index: VectorIndex, layer: int, query: Query, *, gated: bool) -> Floats:
    """cos(b_i, v_d), times max(0, cos(c_i − μ, c_d − μ)) if gated: (n_prompts, n_pairs)."""
    _, parts = matrix_parts(index, layer, query, gated=gated)
    empty = np.empty((len(query.behavior), 0), np.float32)
    return np.concatenate([empty, *(part for _, part in parts)], axis=1)


def matrix_parts(
    index: VectorIndex, layer: int, query: Query, *, gated: bool
) -> tuple[Floats, Iterator[tuple[slice, Floats]]]:
    """μ, and the matrix shard by shard: which pairs, and their columns, (n_prompts, n)."""
    mean = mean_context(index, layer)
    behavior, topics = unit(query.behavior), unit(query.context - mean)

    def parts() -> Iterator[tuple[slice, Floats]]:
        start = 0
        for block in index.blocks(layer):
            part: Floats = np.clip(behavior @ unit(block.datapoint).T, -1, 1)
            if gated:
                part *= _gate(np.clip(topics @ unit(block.context - mean).T, -1, 1))
            yield slice(start, start + part.shape[1]), part
            start += part.shape[1]

    return mean, parts()


def mean_context(index: VectorIndex, layer: int) -> Floats:
    """μ: the mean context vector over all pairs, (d_model,); kept beside the shards once known."""
    path = _mean_path(index, layer)
    return array(path) if path.exists() else _mean(index, layer, "context")


def keep_mean_contexts(index: VectorIndex) -> None:
    """Save a pass over the index for every scan to come."""
    for layer in index.layers:
        buffer = io.BytesIO()
        np.save(buffer, _mean(index, layer, "context"), allow_pickle=False)
        write_atomic(_mean_path(index, layer), buffer.getvalue())
        index.drop_copies(layer)


def _mean_path(index: VectorIndex, layer: int) -> Path:
    return index.folder / f"mean-context-layer{layer}.npy"


def _mean(index: VectorIndex, layer: int, which: Literal["context", "datapoint"]) -> Floats:
    """Summed in float64, block by block."""
    total, count = np.zeros(index.d_model), 0
    for block in index.blocks(layer):
        ones = np.ones(len(block.uids), np.float32)
        total += ones @ getattr(block, which).astype(np.float32)
        count += len(block.uids)
    mean: Floats = (total / max(count, 1)).astype(np.float32)
    return mean


def _score(
    block: Block,
    mean: Floats,
    middle: Floats,
    towards: Stack,
    about: Stack,
    known: Sequence[NDArray[np.bool_]],
) -> list[dict[str, Floats]]:
    """Scores of one block's pairs, for each query; all vectors but the means have length 1.

    `towards` are the queries' pooled vectors, their discriminants if they have any, and their
    banks if `known` tells which prompts these have; `about` are their topics and banks' contexts.
    """
    datapoint, lengths = _less(block.datapoint, middle)
    projection, *others = towards.products(datapoint)  # (query, pair), and (prompt, pair) of banks
    projection = projection.copy()  # it is kept, and must not keep the banks' products with it
    context, away = _less(block.context, mean)
    gate, *topics = about.products(context)
    similarity, gate = _cosine(projection, lengths), _gate(_cosine(gate, away))
    scores = [
        {"similarity": s, "gated": g, "projection": p, "norm": lengths}
        for s, g, p in zip(similarity, similarity * gate, projection, strict=True)
    ]
    if len(others) > len(known):
        told_apart = _cosine(others.pop(0), lengths) * gate
        for made, row in zip(scores, told_apart, strict=True):
            made["discriminant"] = row
    if known:
        for made, single, topic, own in zip(scores, others, topics, known, strict=True):
            made |= _bank_scores(single, topic, own, lengths=lengths, away=away)
    return scores


def _bank_scores(
    single: Floats, topic: Floats, known: NDArray[np.bool_], *, lengths: Floats, away: Floats
) -> dict[str, Floats]:
    """bank and bilinear of (prompt, pair) products with vectors and contexts.

    Divided by the pairs' lengths last: once per pair and not once per prompt.
    """
    # fmax: a prompt without a vector has no cosine; NaN is left only if none has one
    best = np.fmax.reduce(single, axis=0)
    if not known.all():
        single, topic = single[known], topic[known]
    with np.errstate(invalid="ignore"):  # the mean over no prompt is 0 / 0: NaN, as it should be
        mean = np.einsum("ip,ip->p", single, _gate(topic)) / np.float32(len(single))
    return {"bank": _cosine(best, lengths), "bilinear": _cosine(mean, lengths * away)}


def _less(vectors: NDArray[np.floating], mean: Floats) -> tuple[Floats, Floats]:
    """The vectors minus a mean, (n, d_model), and their lengths, (n,).

    What only rounding leaves of equal vectors is zero.
    """
    left, lengths = np.empty(vectors.shape, np.float32), np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), ROWS):
        rows = slice(start, start + ROWS)
        np.subtract(vectors[rows], mean, out=left[rows])
        lengths[rows] = norm(left[rows])
    nothing = lengths <= ROUNDING * np.linalg.norm(mean)
    left[nothing], lengths[nothing] = 0, 0
    return left, lengths


def _cosine(product: Floats, lengths: Floats) -> Floats:
    """Products with unit vectors, (n, pair), as cosines; NaN where a pair's vector is zero."""
    return np.clip(product / np.where(lengths > 0, lengths, np.float32(np.nan)), -1, 1)


def _gate(cosine: Floats) -> Floats:
    """max(0, cos); NaN stays NaN."""
    return np.maximum(cosine, 0)
