"""The behavior–datapoint matrix, on disk, and sums over its blocks.

Every prompt under every condition is a row, every pair a column; entries are (gated) cosines. No
filter and no judge: what the policy does differently is taken as it comes. A prompt on which both
models wrote the same has no behavior vector, a pair whose two completions read the same has no
datapoint vector: their rows and columns are NaN, and are left out of maps, not set to 0.

The matrix is written shard by shard and read `COLUMNS` pairs at a time, so that memory does not
grow with the pairs. Rows of prompts that hardly changed are sampling noise of full length, so
rows are weighted by the length of their behavior vector.

Both directions of the map's link: what chosen pairs push, and what pushes chosen prompts.

Means over rows or columns of the matrix that a discover run left on disk, read where it lies.
Undefined similarities are left out; a mean of none is NaN. Knows nothing of places or clusters.
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
from core.storage.tables import array, new_mapped

COLUMNS = 16_384  # pairs in memory at a time: 17 MB for 256 prompts

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]
Report = Callable[[int, int], None]


def _silence() -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Matrix:
    """Entries (prompt, pair), with names of rows and columns, and which of them are defined."""

    values: Floats  # usually memory-mapped
    prompts: pd.DataFrame
    uids: NDArray[np.object_]
    weights: Floats  # (prompt,) length of the behavior vector, 1 on average
    alike: Floats  # (prompt, prompt) cosine of the defined rows
    prompt_defined: Flags
    pair_defined: Flags
    beat: Callable[[], None] = _silence  # called before every block: a place to stop at

    def blocks(self) -> Iterator[tuple[slice, Floats]]:
        """The defined rows and columns, some pairs at a time, with where they are among those."""
        start = 0
        for first in range(0, self.values.shape[1], COLUMNS):
            self.beat()
            columns = self.pair_defined[first : first + COLUMNS]
            part = self.values[:, first : first + COLUMNS][self.prompt_defined][:, columns]
            yield slice(start, start + part.shape[1]), np.asarray(part, np.float32)
            start += part.shape[1]

    def sums(self, weights: NDArray[Any]) -> NDArray[np.float64]:
        """`weights` (row, defined prompt) times the defined entries: (row, defined pair)."""
        found = np.empty((len(weights), int(self.pair_defined.sum())))
        for place, part in self.blocks():
            found[:, place] = weights.astype(np.float32) @ part
        return found

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
            "pairs have one and the same prompt. Choose another layer, or discover without gating."
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
    """The matrix of entries, new or of a finished run, with how far its rows are alike."""
    matrix = Matrix(
        values=values,
        prompts=prompts,
        uids=uids,
        weights=weights,
        alike=np.empty((0, 0), np.float32),
        prompt_defined=prompt_defined,
        pair_defined=pair_defined,
    )
    return replace(matrix, alike=matrix.row_cosines())


def all_differences(activations: Activations) -> BehaviorVectors:
    """Behavior vectors of every prompt and condition, whatever the completions show."""
    is_policy = activations.completions["model"].eq("policy").to_numpy(bool)
    return difference_vectors(activations, is_policy, ~is_policy)


Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]
ROWS = 32  # prompts at a time: 48 MB for 378k pairs


def on_prompts(output: Path, pairs: Mask) -> Doubles:
    """(prompt,) mean similarity of the chosen pairs, (pair,) a mask, to each prompt."""
    matrix = _matrix(output)
    parts = [_mean(matrix[start : start + ROWS][:, pairs], 1) for start in _starts(matrix)]
    return np.concatenate(parts)


def by_pairs(output: Path, prompts: Mask) -> Doubles:
    """(pair,) mean similarity of each pair to the chosen prompts, (prompt,) a mask."""
    matrix = _matrix(output)
    total, n = np.zeros(matrix.shape[1]), np.zeros(matrix.shape[1], np.int64)
    for start in _starts(matrix):
        rows = matrix[start : start + ROWS][prompts[start : start + ROWS]]
        defined = ~np.isnan(rows)
        total += np.where(defined, rows, 0).sum(0)
        n += defined.sum(0)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)


def _matrix(output: Path) -> Any:
    """(prompt, pair), on disk."""
    return array(output / "matrix.npy")


def _starts(matrix: Any) -> range:
    return range(0, matrix.shape[0], ROWS)


def _mean(values: Any, axis: int) -> Doubles:
    defined = ~np.isnan(values)
    n = defined.sum(axis)
    total = np.where(defined, values, 0).sum(axis, dtype=np.float64)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)
