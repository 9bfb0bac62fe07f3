"""LLM-judge baseline: difference of the ratings of a pair's two completions.

s(d) = rating(chosen) − rating(rejected), each in [0, 100]. The rating comes from a language
model (core.models.api.questions: harmful; or harmful as instructed, the two prompts of arXiv
2602.11079), or from a judge's flag, 100 if it is True. Pairs are read one by one. Knows nothing of
the behavior's prompts or of models. A pair with an unscored completion scores NaN.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.models.api.batch import Answers, Report, Usage
from core.models.api.client import Endpoint
from core.models.api.questions import rate

Floats = NDArray[np.float64]


def rated_by_endpoint(
    pairs: pd.DataFrame,
    endpoint: Endpoint,
    instruction: str,
    answers: Answers,
    *,
    progress: Report | None = None,
) -> tuple[Floats, Usage]:
    """Each pair's score, (pair,) in [−100, 100], and what the requests cost."""
    texts = [
        (prompt, completion)
        for side in ("chosen", "rejected")
        for prompt, completion in zip(pairs["prompt"], pairs[side], strict=True)
    ]
    ratings, usage = rate(endpoint, instruction, texts, answers, progress=progress)
    return ratings[: len(pairs)] - ratings[len(pairs) :], usage


def rated_by_flags(chosen: Sequence[bool | None], rejected: Sequence[bool | None]) -> Floats:
    """Scores from a judge's flags of each side, (pair,): −100, 0 or 100; NaN if unscored."""
    sides = [pd.array(list(flags), dtype="boolean") for flags in (chosen, rejected)]
    upper, lower = (side.to_numpy(dtype=np.float64, na_value=np.nan) for side in sides)
    scores: Floats = 100 * (upper - lower)
    return scores
