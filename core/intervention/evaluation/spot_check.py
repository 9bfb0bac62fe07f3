"""How far two raters agree beyond chance: a judge and a person, or two judges.

Cohen's kappa is (p − e) / (1 − e): p the share of completions that both rate alike, e the share
expected if each kept its own rate of True and rated blindly. 1 is agreement, 0 is chance, and where
both always say the same one thing it is undefined (NaN): nothing was told apart. What either left
unscored is not compared, and counted. Knows nothing of who is right.

Completions for a person to read without knowing who wrote them or what the judge said.

Drawn at random, equally many from every model, in an order that tells nothing; the same seed gives
everybody the same ones, so that people can be compared. They are not balanced by the judge's
answers: agreement is then that of completions as they come. Knows nothing of how they are shown.
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


class Raters(NamedTuple):
    """Counts of the four ways to rate, and what follows from them."""

    both: int  # True by both
    neither: int
    only_first: int
    only_second: int
    unscored: int  # left out: NA by one or both
    agreement: float  # share alike, in [0, 1]
    kappa: Interval  # 95% bootstrap over prompts; n counts prompts


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
    cells = _cells(scored)  # (prompt, cell)
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
    """What a kappa is worth, for people."""
    value = raters.kappa.value
    if np.isnan(value):
        return "not known: nothing was told apart"
    return "poor" if value < POOR else "fair to good" if value < GOOD else "excellent"


def _cells(scored: pd.DataFrame) -> np.ndarray:
    """(prompt, [both, only first, only second, neither]) counts."""
    first, second = (scored[name].to_numpy(dtype=bool) for name in ("first", "second"))
    places = 2 * ~first + ~second
    counts = pd.crosstab(scored["prompt"].to_numpy(), places)
    return counts.reindex(columns=range(4), fill_value=0).to_numpy(dtype=float)


def _kappa(sums: np.ndarray) -> np.ndarray:
    """(draw, cell) counts → (draw,) kappas; NaN where both raters only ever said one thing."""
    both, only_first, only_second, neither = sums.T
    n = sums.sum(1)
    alike = (both + neither) / n
    first, second = (both + only_first) / n, (both + only_second) / n
    chance = first * second + (1 - first) * (1 - second)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(chance < 1, (alike - chance) / (1 - chance), np.nan)


KEY = ["run", "prompt_id", "condition", "rollout"]
COLUMNS = [*KEY, "prompt", "completion", "judged"]


def draw(
    store: Store, evaluations: Sequence[str], behavior: Behavior, *, n: int, seed: int = 0
) -> pd.DataFrame:
    """`COLUMNS`, at most `n` rows; `judged` is the behavior's flag, NA where it was unscored."""
    parts = []
    for place, run in enumerate(sorted(evaluations)):
        table = read_table(store.output(run) / "completions.parquet")
        own = table["group"].eq(behavior.group) & table["condition"].eq(behavior.condition)
        share = n // len(evaluations) + (place < n % len(evaluations))
        rows = table[own].assign(run=run, judged=table.loc[own, behavior.flag])
        parts.append(rows.sample(min(share, len(rows)), random_state=seed)[COLUMNS])
    if not parts:
        return pd.DataFrame(columns=COLUMNS)
    return pd.concat(parts).sample(frac=1, random_state=seed).reset_index(drop=True)


def keys(queue: pd.DataFrame, flag: str) -> list[Completion]:
    """What names each completion of a queue in the log."""
    return [
        Completion(str(run), str(prompt), str(condition), int(rollout), flag)
        for run, prompt, condition, rollout in queue[KEY].itertuples(index=False)
    ]


def answers(queue: pd.DataFrame, verdicts: Verdicts, *, flag: str, who: str) -> pd.Series:
    """(completion,) what a person said, NA where nothing or “cannot tell”."""
    known = [verdicts.get((key, who)) for key in keys(queue, flag)]
    return pd.Series([one.shown if one else None for one in known], dtype="boolean")


def agreement_by_person(queue: pd.DataFrame, verdicts: Verdicts, *, flag: str) -> dict[str, Raters]:
    """Everybody who read completions of the queue, compared with the judge."""
    inside = set(keys(queue, flag))
    people = sorted({who for key, who in verdicts if key in inside})
    judged = queue["judged"].astype("boolean")
    return {
        who: compare(judged, answers(queue, verdicts, flag=flag, who=who), queue["prompt_id"])
        for who in people
    }
