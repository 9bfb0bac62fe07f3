"""Scores of pairs: exact scans over the datapoint and context vectors of an index.

For pair d with datapoint vector v_d and context c_d, and a behavior with vectors b_i and contexts
c_i of the prompts that show it, b their mean, μ the mean context over all pairs,
gate(x, y) = max(0, cos(x − μ, y − μ)), and gate(d) the mean gate(c_j, c_d) over all prompts j of
the behavior's group and condition, whether or not they show it:

- similarity: s(d) = cos(b, v_d), the paper's score (arXiv 2602.11079)
- bank: max_i cos(b_i, v_d) (arXiv 2602.11079)
- gated: g(d) = s(d) · gate(d): the pair must also be about what the behavior is about
- bilinear: mean_i cos(b_i, v_d) · gate(c_i, c_d), the gate prompt by prompt
- discriminant: cos(w, v_d) · gate(d), w Fisher's discriminant of the completions
  (core.attribution.vectors)
- projection: b·v_d / |b|, in units of the residual stream

All but the projection are in [−1, 1]. A cosine with a zero vector does not exist: it is NaN and
stays NaN. Blocks are memory-mapped and scored one at a time, for all behaviors at once, so memory
does not grow with the number of pairs beyond the scores. Knows vectors only, not their origin.
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
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Query:
    """One behavior, by its prompts' vectors."""

    behavior: Floats  # b_i, (n_prompts, d_model)
    context: Floats  # c_i, (n_prompts, d_model)
    pooled: Floats  # b, (d_model,): the mean of b_i under the pooling that was chosen
    discriminant: Floats | None = None  # w, (d_model,)
    topics: Floats | None = None  # c_j of all prompts of the gate, (n, d_model); none: `context`

    @property
    def gating(self) -> Floats:
        """Contexts whose mean gate a pair gets, (n, d_model)."""
        return self.context if self.topics is None else self.topics


class Stack(NamedTuple):
    """Groups of vectors to multiply pairs with, one below the other.

    A product for each group would read the pairs again each time.
    """

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

    `discriminant` is there if every query has one. Without `bank`, the columns that cost a product
    of each pair per prompt's behavior vector, `bank` and `bilinear`, are left out. Queries with the
    same array of topics share one gate. `centered` subtracts the mean datapoint vector of all pairs
    from each.
    """
    mean = mean_context(index, layer)
    center = mean_vector(index, layer, "datapoint") if centered else np.zeros_like(mean)
    pooled = unit(np.stack([query.pooled for query in queries]))
    defined = [query.discriminant for query in queries if query.discriminant is not None]
    discriminants = [unit(np.stack(defined))] if len(defined) == len(queries) else []
    gating = {
        id(query.gating): defined_directions(_less(query.gating, mean)[0]) for query in queries
    }
    gate_of = [list(gating).index(id(query.gating)) for query in queries]
    banks = [(unit(q.behavior), unit(_less(q.context, mean)[0])) for q in queries if bank]
    score = partial(
        _score,
        mean=mean,
        center=center,
        directions=Stack.of([pooled, *discriminants, *(behavior for behavior, _ in banks)]),
        topics=Stack.of([*gating.values(), *(context for _, context in banks)]),
        gate_of=gate_of,
        defined=[~np.isnan(b[:, 0] + c[:, 0]) for b, c in banks],  # prompts with both vectors
    )
    columns: list[dict[str, list[Floats]]] = [{} for _ in queries]
    # one block per core: BLAS's own threads would fight these and cost four times the CPU
    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as pool:
        for block_scores in pool.map(score, index.blocks(layer)):
            for number, scores in enumerate(block_scores):
                for name, values in scores.items():
                    columns[number].setdefault(name, []).append(values)
    return [
        pd.DataFrame({"uid": index.uids} | {name: np.concatenate(v) for name, v in scores.items()})
        for scores in columns
    ]


def nearest(index: VectorIndex, layer: int, uid: str, k: int) -> list[str]:
    """The k pairs nearest to one, which comes first, by cos(v_d, v_e) · gate(c_d, c_e).

    Empty where the pair is not in the index or has no datapoint vector.
    """
    for block in index.blocks(layer):
        at = np.flatnonzero(block.uids == uid)
        if len(at):
            vector, context = (
                rows[at].astype(np.float32) for rows in (block.datapoint, block.context)
            )
            query = Query(vector, context, vector[0])
            scores = scan(index, layer, [query], bank=False)[0].set_index("uid")["gated"]
            return list(scores.nlargest(k, keep="first").index)
    return []


def matrix_blocks(
    index: VectorIndex, layer: int, query: Query, *, gated: bool
) -> tuple[Floats, Iterator[tuple[slice, Floats]]]:
    """μ, (d_model,), and the similarity matrix block by block: which pairs, and their columns.

    Columns are (n_prompts, n): cos(b_i, v_d), times gate(c_i, c_d) if `gated`.
    """
    mean = mean_context(index, layer)
    behavior, topics = unit(query.behavior), unit(query.context - mean)

    def blocks() -> Iterator[tuple[slice, Floats]]:
        start = 0
        for block in index.blocks(layer):
            columns: Floats = np.clip(behavior @ unit(block.datapoint).T, -1, 1)
            if gated:
                columns *= gate(np.clip(topics @ unit(block.context - mean).T, -1, 1))
            yield slice(start, start + columns.shape[1]), columns
            start += columns.shape[1]

    return mean, blocks()


def mean_context(index: VectorIndex, layer: int) -> Floats:
    """μ, the mean context vector over all pairs, (d_model,); read from the index if it is saved."""
    path = _mean_path(index, layer)
    return array(path) if path.exists() else mean_vector(index, layer, "context")


def mean_vector(
    index: VectorIndex, layer: int, which: Literal["context", "datapoint", "chosen"]
) -> Floats:
    """Mean over all pairs, (d_model,); summed in float64, block by block."""
    total, count = np.zeros(index.d_model), 0
    for block in index.blocks(layer):
        ones = np.ones(len(block.uids), np.float32)
        total += ones @ getattr(block, which).astype(np.float32)
        count += len(block.uids)
    mean: Floats = (total / max(count, 1)).astype(np.float32)
    return mean


def save_mean_contexts(index: VectorIndex) -> None:
    """Write μ of every layer into the index folder, which saves each scan a pass over the index."""
    for layer in index.layers:
        buffer = io.BytesIO()
        np.save(buffer, mean_vector(index, layer, "context"), allow_pickle=False)
        write_atomic(_mean_path(index, layer), buffer.getvalue())
        index.drop_copies(layer)


def _mean_path(index: VectorIndex, layer: int) -> Path:
    return index.folder / f"mean-context-layer{layer}.npy"


def _score(
    block: Block,
    mean: Floats,
    center: Floats,
    directions: Stack,
    topics: Stack,
    gate_of: Sequence[int],
    defined: Sequence[Flags],
) -> list[dict[str, Floats]]:
    """Scores of one block's pairs, for each query; all vectors but the means have length 1.

    `directions` are the queries' pooled vectors, their discriminants if they have any, and their
    banks if `defined` marks the prompts of these; `topics` are the contexts of each gate and of
    each bank, and `gate_of` is the number of each query's gate.
    """
    datapoint, lengths = _less(block.datapoint, center)
    projection, *others = directions.products(datapoint)  # (query, pair), banks (prompt, pair)
    projection = projection.copy()  # a view would keep the banks' products in memory
    context, context_lengths = _less(block.context, mean)
    topic_products = topics.products(context)
    mean_gates = [
        _mean_gate(topic_products.pop(0), context_lengths) for _ in range(max(gate_of) + 1)
    ]
    similarity, gates = _cosine(projection, lengths), np.stack(mean_gates)[list(gate_of)]
    scores = [
        {"similarity": s, "gated": g, "projection": p, "norm": lengths}
        for s, g, p in zip(similarity, similarity * gates, projection, strict=True)
    ]
    if len(others) > len(defined):
        for row, values in zip(scores, _cosine(others.pop(0), lengths) * gates, strict=True):
            row["discriminant"] = values
    if defined:
        for row, b, c, prompts in zip(scores, others, topic_products, defined, strict=True):
            row |= _bank_scores(b, c, prompts, lengths=lengths, context_lengths=context_lengths)
    return scores


def _bank_scores(
    behavior: Floats, topic: Floats, defined: Flags, *, lengths: Floats, context_lengths: Floats
) -> dict[str, Floats]:
    """bank and bilinear from a bank's products with vectors and contexts, (prompt, pair) each.

    Divided by the pairs' lengths last: once per pair and not once per prompt.
    """
    # fmax: a prompt without a vector has no cosine; NaN is left only if none has one
    best = np.fmax.reduce(behavior, axis=0)
    if not defined.all():
        behavior, topic = behavior[defined], topic[defined]
    with np.errstate(invalid="ignore"):  # the mean over no prompt is 0 / 0: NaN, as it should be
        mean = np.einsum("ip,ip->p", behavior, gate(topic)) / np.float32(len(behavior))
    return {"bank": _cosine(best, lengths), "bilinear": _cosine(mean, lengths * context_lengths)}


def defined_directions(contexts: Floats) -> Floats:
    """Contexts scaled to length 1, those without a direction left out; a NaN row if all are."""
    scaled = unit(contexts)
    defined = ~np.isnan(scaled[:, 0])
    return scaled[defined] if defined.any() else scaled[:1]


def _mean_gate(products: Floats, lengths: Floats) -> Floats:
    """Mean gate of each pair, from (topic, pair), its topics' products with the pairs' contexts."""
    mean: Floats = gate(_cosine(products, lengths)).mean(axis=0)
    return mean


def _less(vectors: NDArray[np.floating], mean: Floats) -> tuple[Floats, Floats]:
    """The vectors minus a mean, (n, d_model) float32, and their lengths, (n,).

    A difference that is only rounding is zero.
    """
    left, lengths = np.empty(vectors.shape, np.float32), np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), ROWS):
        rows = slice(start, start + ROWS)
        np.subtract(vectors[rows], mean, out=left[rows])
        lengths[rows] = norm(left[rows])
    zero = lengths <= ROUNDING * np.linalg.norm(mean)
    left[zero], lengths[zero] = 0, 0
    return left, lengths


def _cosine(product: Floats, lengths: Floats) -> Floats:
    """Products with unit vectors, (n, pair), as cosines; NaN where a pair's vector is zero."""
    return np.clip(product / np.where(lengths > 0, lengths, np.float32(np.nan)), -1, 1)


def gate(cosine: Floats) -> Floats:
    """The context gate max(0, cos(x − μ, y − μ)) of a cosine; NaN stays NaN."""
    return np.maximum(cosine, 0)
