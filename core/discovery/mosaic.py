"""The matrix of prompts and pairs as one small picture: mean similarities, alike beside alike.

Rows are prompts and columns pairs, both in the order that a discover run found (`place`); columns
(and rows, where there are many) are averaged over neighbors. Undefined entries are left out of the
means, a mean of none is NaN and drawn as nothing. Knows nothing of clusters or gestures.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.discovery import raster
from core.runs.tables import array

COLUMNS, ROWS = 600, 256  # cells at most
FADED = 0.22  # opacity of columns that are not selected
BLOCK = 16  # prompts in memory at once: 24 MB of 378k pairs

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def cells(place: Ints, most: int) -> Ints:
    """(point,) which of at most `most` equal cells holds a place; −1 where there is no place."""
    n = int(place.max(initial=-1)) + 1
    found: Ints = np.where(place >= 0, place * min(n, most) // max(n, 1), -1)
    return found


def means(output: Path, rows: Ints, columns: Ints) -> Floats:
    """(row cell, column cell) mean entry; `rows` (prompt,) and `columns` (pair,) are cells."""
    matrix = array(output / "matrix.npy")
    height, width = int(rows.max(initial=-1)) + 1, int(columns.max(initial=-1)) + 1
    total, n = np.zeros((height, width)), np.zeros((height, width))
    for start in range(0, len(matrix), BLOCK):
        for row, values in enumerate(matrix[start : start + BLOCK], start):
            known = (columns >= 0) & np.isfinite(values)
            if rows[row] >= 0:
                total[rows[row]] += np.bincount(columns[known], values[known], minlength=width)
                n[rows[row]] += np.bincount(columns[known], minlength=width)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)


def picture(
    values: Floats, *, limit: float, shown: NDArray[np.bool_], colors: Sequence[str]
) -> str:
    """A PNG as a data address: `values` from −limit to limit on a scale; columns not `shown` fade.

    The first row is at the bottom.
    """
    step = np.rint((np.clip(values / limit, -1, 1) + 1) / 2 * (len(colors) - 1))
    pixels = 1 + np.nan_to_num(step).astype(np.int64) + np.where(shown, 0, len(colors))[None]
    pixels[np.isnan(values)] = 0
    palette = [("#000000", 0.0), *((color, 1.0) for color in colors)]
    palette += [(color, FADED) for color in colors]
    return raster.png(pixels[::-1].astype(np.uint8), palette)


def strip(kinds: Ints, colors: Sequence[str], *, upright: bool = False) -> str:
    """A PNG one cell thick: the color of each cell's kind, nothing for −1."""
    pixels = (kinds + 1).astype(np.uint8)
    palette = [("#000000", 0.0), *((color, 1.0) for color in colors)]
    return raster.png(pixels[::-1, None] if upright else pixels[None], palette)


def most_frequent(kinds: Ints, columns: Ints) -> Ints:
    """(cell,) the kind that most points of a cell are of; −1 where none has one."""
    width, n = int(columns.max(initial=-1)) + 1, int(kinds.max(initial=-1)) + 1
    known = (kinds >= 0) & (columns >= 0)
    counts = np.bincount(columns[known] * max(n, 1) + kinds[known], minlength=width * max(n, 1))
    table = counts.reshape(width, max(n, 1))
    found: Ints = np.where(table.any(axis=1), table.argmax(axis=1), -1)
    return found
