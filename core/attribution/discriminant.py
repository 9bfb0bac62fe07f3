"""The direction that tells the policy's completions from the reference's, prompts set aside.

Fisher's linear discriminant (1936): w = Σ⁻¹ (mean of the completions that show the behavior − mean
of those that do not), Σ the covariance of completions within the two sides. What completions vary
in anyway (their prompt's topic, mostly) is damped, so that w holds less of it than the difference
of the means does. With few completions Σ is shrunk towards a multiple of the identity (Ledoit &
Wolf 2004), by a fixed share. Knows activations only.
"""

import numpy as np
from numpy.typing import NDArray

SHRINKAGE = 0.3  # share of the identity; chosen on two organisms, see docs/log.md

Floats = NDArray[np.floating]


def discriminant(shown: Floats, usual: Floats) -> NDArray[np.float32]:
    """w, (d_model,), from means over completions of the two sides, (n, d_model) and (m, d_model).

    Its length means nothing. Where no completion varies it is the difference of the means.
    """
    sides = [side.astype(np.float64) for side in (shown, usual)]
    difference = sides[0].mean(axis=0) - sides[1].mean(axis=0)
    within = np.concatenate([side - side.mean(axis=0) for side in sides])
    covariance = within.T @ within / len(within)
    width = len(difference)
    size = np.trace(covariance) / width
    if size == 0:
        return difference.astype(np.float32)
    shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * size * np.eye(width)
    # times `size`, so that the result is of the order of the difference
    direction: NDArray[np.float32] = (size * np.linalg.solve(shrunk, difference)).astype(np.float32)
    return direction
