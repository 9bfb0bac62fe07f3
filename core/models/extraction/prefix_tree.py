"""Token sequences laid out so that what several begin with is there once.

Equal beginnings have equal streams, whatever comes after, so sequences become a trie with a row
per node. Sequences are sorted and each adds the rows that its neighbour does not have already:
rows come parents first, each before the rows below it. Then a row's ancestors are the keys that
it sees, and row j is one of them (or i itself) if and only if j ≤ i < end(j). Knows ids only.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Trie:
    """Of every row, (row,): `ids`, its token; `position`, how many rows lie above it; `end`, the
    first row after those below it. `paths`: each sequence's rows, sequences as they were given."""

    def __init__(self, sequences: Sequence[list[int]]) -> None:
        ids: list[int] = []
        position: list[int] = []
        end: list[int] = []
        self._owner: list[int] = []  # a sequence that goes through the row
        self.paths: list[list[int]] = [[] for _ in sequences]
        before: list[int] = []
        path: list[int] = []
        for number in sorted(range(len(sequences)), key=sequences.__getitem__):
            sequence = sequences[number]
            shared = _beginning(before, sequence)
            start, size = len(ids), len(sequence) - shared
            for row in path[shared:]:
                end[row] = start
            ids.extend(sequence[shared:])
            position.extend(range(shared, len(sequence)))
            end.extend([0] * size)
            self._owner.extend([number] * size)
            path = [*path[:shared], *range(start, start + size)]
            self.paths[number], before = path, sequence
        for row in path:
            end[row] = len(ids)
        self.ids, self.position, self.end = (np.array(x, np.int64) for x in (ids, position, end))

    def above(self, row: int) -> list[int]:
        """The row's ancestors, from the first token down."""
        return self.paths[self._owner[row]][: self.position[row]]


def _beginning(left: list[int], right: list[int]) -> int:
    """How many tokens two sequences begin with alike."""
    size = min(len(left), len(right))
    if left[:size] == right[:size]:
        return size
    return next(at for at, (a, b) in enumerate(zip(left, right, strict=False)) if a != b)
