"""The behavior–datapoint matrix, whole, and what of it a map is made from.

Every prompt under every condition is a row, every pair a column; entries are (gated) cosines. No
filter and no judge: what the policy does differently is taken as it comes. A prompt on which both
models wrote the same has no behavior vector, a pair whose two completions read the same has no
datapoint vector: their rows and columns are NaN, and are left out of maps, not set to 0.

Rows of prompts that hardly changed are sampling noise of full length, so rows are weighted by the
length of their behavior vector. A pair that reaches no row by much is *unattributed*: it stays on
the map, near its middle, and belongs to no cluster. Of the others only the direction counts:
which prompts they push, not how much.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.attribution.cutoff import suggest
from core.attribution.index import VectorIndex
from core.attribution.similarity import Query, matrix, norm
from core.attribution.vectors import BehaviorVectors, Readings, differences
from core.discovery.projection import principal_components
from core.errors import UserError

INNER = 0.3  # radius that unattributed pairs stay within; attributed ones are at 1

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Matrix:
    """Entries (prompt, pair) with the names of rows and columns, and which of them are defined."""

    values: Floats
    prompts: pd.DataFrame
    uids: NDArray[np.object_]
    weights: Floats  # (prompt,) length of the behavior vector, 1 on average
    prompt_defined: Flags
    pair_defined: Flags

    @property
    def defined(self) -> Floats:
        """The rows and columns without NaN."""
        return self.values[np.ix_(self.prompt_defined, self.pair_defined)]


def build_matrix(index: VectorIndex, readings: Readings, layer: int, *, gated: bool) -> Matrix:
    """The matrix of all prompts and conditions that both models completed."""
    vectors = all_differences(readings)
    behavior, context = vectors.at(layer)
    if not behavior.any():
        raise UserError(
            "Policy and reference wrote the same on every prompt: there is nothing to discover. "
            "Generate with other prompts, or at a higher temperature."
        )
    query = Query(behavior, context, behavior.mean(axis=0))
    values = matrix(index, layer, query, gated=gated)
    prompt_defined = np.asarray(np.isfinite(values).any(axis=1))
    pair_defined = np.asarray(np.isfinite(values[prompt_defined]).all(axis=0))
    lengths = norm(behavior)
    return Matrix(
        values=values,
        prompts=vectors.prompts,
        uids=index.uids,
        weights=lengths / lengths.mean(),
        prompt_defined=prompt_defined,
        pair_defined=pair_defined,
    )


@dataclass(frozen=True)
class Features:
    """What places the defined pairs: points (pair, component), and which are attributed."""

    points: Floats
    attributed: Flags


def pair_features(matrix: Matrix) -> Features:
    """Directions of attributed pairs, at distance 1; the others shrunk to within `INNER`.

    Who is attributed is decided by Otsu's cut of the length of the weighted columns.
    """
    columns = (matrix.defined * matrix.weights[matrix.prompt_defined, None]).T  # (pair, prompt)
    lengths = norm(columns)
    attributed = lengths >= suggest(lengths).threshold
    components = principal_components(columns)
    middle = components[~attributed].mean(axis=0) if not attributed.all() else np.float32(0)
    points = components - middle
    limit = norm(points[~attributed]).max(initial=0)
    points[~attributed] *= np.float32(INNER / limit if limit > 0 else 1)
    own = norm(points[attributed])  # zero only where every pair is the same
    points[attributed] /= np.where(own > 0, own, 1)[:, None]
    return Features(points, attributed)


def all_differences(readings: Readings) -> BehaviorVectors:
    """Behavior vectors of every prompt and condition, whatever the completions show."""
    is_policy = readings.completions["model"].eq("policy").to_numpy(bool)
    return differences(readings, is_policy, ~is_policy)


def prompt_features(matrix: Matrix, attributed: Flags) -> Floats:
    """What places the defined prompts: the direction of each row over the attributed pairs."""
    rows = matrix.defined[:, attributed]
    lengths = norm(rows)[:, None]
    directions: Floats = np.divide(rows, lengths, out=rows.copy(), where=lengths > 0)
    return principal_components(directions)
