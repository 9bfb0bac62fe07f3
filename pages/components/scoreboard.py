"""Labels of the methods in the chart of quality and cost, where there is room for them.

Positions are decades of CPU-seconds across, average precision up.
"""

import numpy as np
import pandas as pd

from core.specs.behaviors import SCORE_NAMES
from core.specs.steps import RankSpec

DECADES_A_LETTER = 0.07  # of the axis on a small laptop; less on a wider page
ROOM = 0.3  # decades left of the cheapest method
MARKER = 0.06  # decades from a marker's middle to its label
LETTER = 0.055  # of average precision, the height of a label
DEFAULT = SCORE_NAMES[RankSpec.model_fields["method"].default]


def place_labels(table: pd.DataFrame) -> pd.DataFrame:
    """With a `label` and its `side` where there is room: the default first, then the better method.

    A label covers neither another label nor another method's marker.
    """
    markers = np.column_stack([np.log10(table["cpu_seconds"].to_numpy(float)), table["mean"]])
    labels = pd.DataFrame({"label": "", "side": "middle right"}, index=table.index)
    boxes: list[tuple[np.ndarray, np.ndarray]] = []  # lower left and upper right corners
    for row in np.lexsort([-table["mean"], table["method"].ne(DEFAULT)]):
        name = str(table["method"].iloc[row])
        for side, sign in (("middle right", 1), ("middle left", -1)):
            near = markers[row, 0] + sign * MARKER
            across = sorted([near, near + sign * DECADES_A_LETTER * len(name)])
            low, high = np.column_stack([across, markers[row, 1] + LETTER / 2 * np.array([-1, 1])])
            covers = ((markers > low) & (markers < high)).all(axis=1).any()
            meets = any((low < other[1]).all() and (other[0] < high).all() for other in boxes)
            if low[0] >= markers[:, 0].min() - ROOM and not covers and not meets:
                boxes.append((low, high))
                labels.iloc[row] = (name, side)
                break
    return table.assign(**labels)
