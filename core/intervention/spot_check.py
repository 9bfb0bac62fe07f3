"""Completions for a person to read without knowing who wrote them or what the judge said.

Drawn at random, equally many from every model, in an order that tells nothing; the same seed gives
everybody the same ones, so that people can be compared. They are not balanced by the judge's
answers: agreement is then that of completions as they come. Knows nothing of how they are shown.
"""

from collections.abc import Sequence

import pandas as pd

from core.data.behaviors import Behavior
from core.intervention.raters import Raters, compare
from core.runs.edit_changes import Completion, Verdicts
from core.runs.store import Store
from core.runs.tables import table as read_table

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
