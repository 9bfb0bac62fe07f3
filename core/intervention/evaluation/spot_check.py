"""Agreement of a judge with people who read blinded completions.

Completions are drawn at random, equally many from every model, in an order that hides who wrote
them and what the judge answered; the same seed draws the same ones for everybody, so that people
can be compared. They are not balanced by the judge's answers: agreement is that of completions as
they come.

Cohen's kappa is (p − e) / (1 − e): p the share of completions that two raters rate the same, e the
share expected if each kept its own rate of True and rated blindly. 1 is agreement, 0 is chance; it
is undefined (NaN) where both always give the same single answer. Completions that either left
unscored are counted and not compared. Which rater is right is not known here.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from core.runs.store import Store
from core.specs.behaviors import Behavior
from core.specs.events import Completion, Verdicts
from core.stats import Interval, bootstrap
from core.storage.tables import table as read_table

POOR, GOOD = 0.4, 0.75  # the usual reading, from Fleiss
KEY = ["run", "prompt_id", "condition", "rollout"]
COLUMNS = [*KEY, "prompt", "completion", "judged"]


class Raters(NamedTuple):
    """Counts of the four ways to rate, and what follows from them."""

    both: int  # True by both
    neither: int
    only_first: int
    only_second: int
    unscored: int  # left out: NA by one or both
    agreement: float  # share rated the same, in [0, 1]
    kappa: Interval  # 95% bootstrap over prompts; n counts prompts


def draw(
    store: Store, evaluations: Sequence[str], behavior: Behavior, *, n: int, seed: int = 0
) -> pd.DataFrame:
    """`COLUMNS`, at most `n` rows; `judged` is the behavior's flag, NA where it was unscored."""
    parts = [pd.DataFrame(columns=COLUMNS)]
    for place, run in enumerate(sorted(evaluations)):
        table = read_table(store.output(run) / "completions.parquet")
        share = n // len(evaluations) + (place < n % len(evaluations))
        rows = table[table["group"].eq(behavior.group) & table["condition"].eq(behavior.condition)]
        drawn = rows.sample(min(share, len(rows)), random_state=seed)
        parts.append(drawn.assign(run=run, judged=drawn[behavior.flag])[COLUMNS])
    drawn = pd.concat(parts[1:] or parts)
    return drawn.sample(frac=1, random_state=seed).reset_index(drop=True)


def keys(queue: pd.DataFrame, flag: str) -> list[Completion]:
    """The name of each completion of a queue in the log."""
    return [
        Completion(str(run), str(prompt), str(condition), int(rollout), flag)
        for run, prompt, condition, rollout in queue[KEY].itertuples(index=False)
    ]


def answers(queue: pd.DataFrame, verdicts: Verdicts, *, flag: str, who: str) -> pd.Series:
    """(completion,) a person's answers, NA where there is none or it is “cannot tell”."""
    rated = [verdicts.get((key, who)) for key in keys(queue, flag)]
    return pd.Series([verdict.shown if verdict else None for verdict in rated], dtype="boolean")


def agreement_by_person(queue: pd.DataFrame, verdicts: Verdicts, *, flag: str) -> dict[str, Raters]:
    """The judge compared with everybody who read completions of the queue."""
    queued = set(keys(queue, flag))
    people = sorted({who for key, who in verdicts if key in queued})
    judged = queue["judged"].astype("boolean")
    return {
        who: compare(judged, answers(queue, verdicts, flag=flag, who=who), queue["prompt_id"])
        for who in people
    }


def compare(first: pd.Series, second: pd.Series, prompts: pd.Series, *, seed: int = 0) -> Raters:
    """Two nullable boolean columns about the same completions, and each completion's prompt.

    Prompts are resampled, not completions: those of one prompt resemble each other.
    """
    if not len(first) == len(second) == len(prompts):
        raise ValueError(f"{len(first)}, {len(second)} ratings and {len(prompts)} prompts")
    table = pd.DataFrame(
        {"first": first.array, "second": second.array, "prompt": prompts.to_numpy()}
    )
    scored = table.dropna(subset=["first", "second"])
    cells = _cells(scored)
    both, only_first, only_second, neither = (int(n) for n in cells.sum(0))
    return Raters(
        both=both,
        neither=neither,
        only_first=only_first,
        only_second=only_second,
        unscored=len(table) - len(scored),
        agreement=(both + neither) / len(scored) if len(scored) else float("nan"),
        kappa=bootstrap(lambda times: _kappa(times @ cells), len(cells), seed=seed),
    )


def in_words(raters: Raters) -> str:
    """A kappa's usual reading."""
    value = raters.kappa.value
    if np.isnan(value):
        return "undefined: all answers are the same"
    return "poor" if value < POOR else "fair to good" if value < GOOD else "excellent"


def _cells(scored: pd.DataFrame) -> np.ndarray:
    """(prompt, [both, only first, only second, neither]) counts."""
    first, second = (scored[name].to_numpy(dtype=bool) for name in ("first", "second"))
    counts = pd.crosstab(scored["prompt"].to_numpy(), 2 * ~first + ~second)
    return counts.reindex(columns=range(4), fill_value=0).to_numpy(dtype=float)


def _kappa(sums: np.ndarray) -> np.ndarray:
    """(draw, cell) counts → (draw,) kappas; NaN where both raters only ever gave one answer."""
    both, only_first, only_second, neither = sums.T
    n = sums.sum(1)
    agreed = (both + neither) / n
    first, second = (both + only_first) / n, (both + only_second) / n
    chance = first * second + (1 - first) * (1 - second)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(chance < 1, (agreed - chance) / (1 - chance), np.nan)
