"""The prompt × pair matrix of similarities, on disk.

Every prompt under every condition is a row, every pair a column; entries are cosines, gated if
asked for (core.attribution.similarity). No filter and no judge: all that the policy does
differently counts. A prompt on which both models wrote the same has no behavior vector, a pair
whose two completions have the same activations no datapoint vector: their rows and columns are
undefined (NaN) and left out of maps and means, never 0.

The matrix is written shard by shard and read in blocks, so that memory does not grow with the
pairs. The row of a prompt that hardly changed is sampling noise of full length, so rows are
weighted by the length of their behavior vector.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.attribution.index.layout import VectorIndex
from core.attribution.similarity import Query, matrix_blocks
from core.attribution.vectors import Activations, BehaviorVectors, difference_vectors
from core.errors import UserError
from core.geometry import norm
from core.runs.progress import Report
from core.storage.tables import array, new_mapped

COLUMNS = 16_384  # pairs in memory at a time: 17 MB for 256 prompts
ROWS = 32  # prompts in memory at a time: 48 MB for 378k pairs

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Matrix:
    """Entries (prompt, pair), with names of rows and columns, and which of them are defined."""

    values: Floats  # usually memory-mapped
    prompts: pd.DataFrame
    uids: NDArray[np.object_]
    weights: Floats  # (prompt,) length of the behavior vector, 1 on average
    row_similarity: Floats  # (prompt, prompt) cosine of the defined rows
    prompt_defined: Flags
    pair_defined: Flags
    before_block: Callable[[], object] = lambda: None  # may raise, to stop what reads the blocks

    def blocks(self) -> Iterator[tuple[slice, Floats]]:
        """The defined rows of some defined pairs at a time, with their places among those."""
        start = 0
        for first in range(0, self.values.shape[1], COLUMNS):
            self.before_block()
            columns = self.pair_defined[first : first + COLUMNS]
            part = self.values[:, first : first + COLUMNS][self.prompt_defined][:, columns]
            yield slice(start, start + part.shape[1]), np.asarray(part, np.float32)
            start += part.shape[1]

    def sums(self, weights: NDArray[Any]) -> Doubles:
        """`weights` (row, defined prompt) times the defined entries: (row, defined pair)."""
        total = np.empty((len(weights), int(self.pair_defined.sum())))
        for place, part in self.blocks():
            total[:, place] = weights.astype(np.float32) @ part
        return total

    def row_cosines(self, chosen: Flags | None = None) -> Floats:
        """Cosine of every two defined rows, (prompt, prompt), over some of the defined pairs.

        A row of zeros has cosine 0 with all.
        """
        gram = np.zeros((int(self.prompt_defined.sum()),) * 2)
        for place, part in self.blocks():
            used = part if chosen is None else part[:, chosen[place]]
            gram += used @ used.T
        lengths = np.sqrt(np.diag(gram))
        scale = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
        return (gram * np.outer(scale, scale)).astype(np.float32)

    def columns(self, chosen: Flags) -> Floats:
        """The defined rows of some of the defined pairs, (prompt, chosen pair), in memory."""
        parts = [part[:, chosen[place]] for place, part in self.blocks()]
        return np.concatenate(parts, axis=1)


def build_matrix(
    index: VectorIndex,
    vectors: BehaviorVectors,
    layer: int,
    *,
    gated: bool,
    path: Path,
    report: Report,
) -> Matrix:
    """The matrix of all prompts and conditions in `vectors`, written to `path`."""
    behavior, context = vectors.at(layer)
    if not behavior.any():
        raise UserError(
            "Policy and reference wrote the same on every prompt: there is nothing to discover. "
            "Generate with other prompts, or at a higher temperature."
        )
    lengths = norm(behavior)
    mean, parts = matrix_blocks(index, layer, Query(behavior, context, behavior[0]), gated=gated)
    changed = lengths > 0
    if gated:
        changed &= norm(context - mean) > 0
    values = new_mapped(path, (len(behavior), len(index.uids)))
    pair_defined = np.zeros(len(index.uids), bool)
    for place, part in parts:
        values[:, place] = part
        pair_defined[place] = np.isfinite(part[changed]).all(axis=0)
        report(place.stop, len(index.uids))
    values.flush()
    if not pair_defined.any():
        raise UserError(
            f"No pair can be compared at layer {layer}: every datapoint vector is zero, or all "
            "pairs have the same prompt. Choose another layer, or discover without gating."
        )
    return assemble(
        values,
        vectors.prompts,
        index.uids,
        weights=lengths / lengths.mean(),
        prompt_defined=changed,
        pair_defined=pair_defined,
    )


def assemble(
    values: Floats,
    prompts: pd.DataFrame,
    uids: NDArray[np.object_],
    *,
    weights: Floats,
    prompt_defined: Flags,
    pair_defined: Flags,
) -> Matrix:
    """The matrix of entries, new or of a finished run, with the cosines of its rows."""
    unknown = np.empty((0, 0), np.float32)
    matrix = Matrix(values, prompts, uids, weights, unknown, prompt_defined, pair_defined)
    return replace(matrix, row_similarity=matrix.row_cosines())


def all_differences(activations: Activations) -> BehaviorVectors:
    """Behavior vectors of every prompt and condition, from all of their completions."""
    is_policy = activations.completions["model"].eq("policy").to_numpy(bool)
    return difference_vectors(activations, is_policy, ~is_policy)


def row_blocks(output: Path) -> Iterator[tuple[slice, Any]]:
    """The matrix of a finished discover run, some prompts at a time, with their places."""
    values = array(output / "matrix.npy")
    for start in range(0, len(values), ROWS):
        rows = slice(start, start + ROWS)
        yield rows, values[rows]


def mean_by_prompt(output: Path, pairs: Flags) -> Doubles:
    """(prompt,) mean similarity of the chosen pairs, (pair,), to each prompt; of none, NaN."""
    sums = [_sums(values[:, pairs], axis=1) for _, values in row_blocks(output)]
    return _ratio(*(np.concatenate(parts) for parts in zip(*sums, strict=True)))


def mean_by_pair(output: Path, prompts: Flags) -> Doubles:
    """(pair,) mean similarity of each pair to the chosen prompts, (prompt,); of none, NaN."""
    sums = [_sums(values[prompts[rows]], axis=0) for rows, values in row_blocks(output)]
    return _ratio(*(np.sum(parts, axis=0) for parts in zip(*sums, strict=True)))


def _sums(values: Any, axis: int) -> tuple[Doubles, NDArray[np.int64]]:
    """Sum and number of the defined entries."""
    return np.nansum(values, axis, dtype=np.float64), (~np.isnan(values)).sum(axis)


def _ratio(total: Doubles, n: NDArray[np.int64]) -> Doubles:
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)
