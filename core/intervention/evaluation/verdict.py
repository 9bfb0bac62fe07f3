"""The verdict on an edit, for one behavior: worked, did not work, or not yet proven.

The benefit of a retraining is how much better the edited arm does than the random control of the
same training seed: a lower rate of an unwanted behavior, a higher one of a wanted. Two doubts are
kept apart, and both have to be settled:

- retrainings differ: a Student interval over the seeds that both arms have, three or more;
- prompts differ: a bootstrap over the held-out prompts of the mean over those seeds.

A benefit is worth having from a quarter of what training changed (policy against reference), and
from three points. **Worked**: both 95% intervals are above 0, the mean is worth having, and the
edited rate is better than the policy's interval. **Did not work**: three seeds or more, and even
the higher end of the intervals is not worth having. Everything else is **not yet proven**. What got
worse is reported beside the verdict, and does not change it. Docs: docs/method.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.intervention.evaluation.edit_sizes import GUARD
from core.runs.store import Store
from core.specs.behaviors import Behavior
from core.stats import LEAST_SEEDS, Interval, bootstrap, seed_interval
from core.storage.tables import table as read_table

State = Literal["worked", "did not work", "not yet proven"]

WORTH = 0.25  # of the change from reference to policy
LEAST_PROMPTS = 6  # fewer that all agree may do so by chance: 2 · ½⁵ is above 5%
UNKNOWN = Interval(np.nan, np.nan, np.nan, 0)
HEADS: dict[State, str] = {
    "worked": "It worked",
    "did not work": "It did not work",
    "not yet proven": "Not yet proven",
}


@dataclass(frozen=True)
class Worse:
    """A behavior whose edited rate left the policy's interval on the wrong side."""

    behavior: str
    before: float
    after: float


@dataclass(frozen=True)
class Verdict:
    """Rates in [0, 1], means over seeds; NaN where nothing is measured.

    `over_seeds` and `over_prompts` are the benefit beyond the control with its interval, NaN bounds
    where it has none; `seeds` are those that both arms have.
    """

    behavior: Behavior
    state: State
    reason: str  # why it is not yet proven, or did not work
    before: float
    after: float
    control: float
    over_seeds: Interval
    over_prompts: Interval
    seeds: tuple[int, ...]
    worse: tuple[Worse, ...]

    def claim(self) -> str:
        """What came out, with how many seeds, and the rates: policy, edited, control."""
        seeds = f" ({_seeds(len(self.seeds))})" if self.seeds else ""
        control = f"; after a random edit of the same size {self.control:.1%}"
        rates = f"{self.behavior.name} {self.before:.1%} → {self.after:.1%}"
        return f"{HEADS[self.state]}{seeds}: {rates}{control * bool(self.seeds)}."

    def headline(self) -> str:
        """The verdict in words: the claim, what got worse, and what is not proven."""
        return f"{self.claim()} {_in_words(self.worse)} {self.reason}".rstrip()

    def evidence(self) -> str:
        """The benefit beyond the control with both intervals, in points; empty without one."""
        if not self.seeds:
            return ""
        return (
            f"Better than the control by {100 * self.over_prompts.value:.1f} points; 95% over "
            f"{self.over_prompts.n} prompts {_bounds(self.over_prompts)}, over "
            f"{_seeds(len(self.seeds))} {_bounds(self.over_seeds)}."
        )

    def bounds(self) -> str:
        """The interval of the benefit, in points: over seeds where it has one, else prompts."""
        over_seeds = not np.isnan(self.over_seeds.low)
        return _bounds(self.over_seeds if over_seeds else self.over_prompts)


def verdict(
    store: Store, measured: pd.DataFrame, behavior: Behavior, behaviors: Sequence[Behavior]
) -> Verdict | None:
    """Of one edit's arms, as `results.outcomes` gives them; None before policy and edit are.

    `behaviors` are all that must not get worse.
    """
    rows = measured[measured["behavior"] == behavior.name]
    means = rows.groupby("arm")["rate"].mean()
    if not {"policy", "edited"} <= set(means.index):
        return None
    by_seed = rows[rows["seed"].notna()].drop_duplicates(["arm", "seed"])
    wide = by_seed.pivot(index="seed", columns="arm", values="rate")
    wide = wide.reindex(columns=["edited", "random control"]).dropna()
    sign = -1 if behavior.wanted else 1
    benefits = sign * (wide["random control"] - wide["edited"])
    over_prompts = _over_prompts(store, by_seed, list(wide.index), behavior)
    over_seeds = _over_seeds(benefits)
    before = rows[rows["arm"] == "policy"].iloc[0]
    after = float(means["edited"])
    better = after > before["high"] if behavior.wanted else after < before["low"]
    changed = abs(means["policy"] - means.get("reference", means["policy"]))
    state, reason = _state(
        over_seeds, over_prompts, bool(better), float(max(GUARD, WORTH * changed))
    )
    return Verdict(
        behavior=behavior,
        state=state,
        reason=reason,
        before=float(before["rate"]),
        after=after,
        control=float(wide["random control"].mean()),
        over_seeds=over_seeds,
        over_prompts=over_prompts,
        seeds=tuple(int(seed) for seed in wide.index),
        worse=tuple(w for w in worse(measured, behaviors) if w.behavior != behavior.name),
    )


def worse(measured: pd.DataFrame, behaviors: Sequence[Behavior]) -> list[Worse]:
    """Behaviors whose edited mean left the policy's interval on the wrong side."""
    rows = []
    for behavior in behaviors:
        arms = measured[measured["behavior"] == behavior.name]
        before, after = arms[arms["arm"] == "policy"], arms[arms["arm"] == "edited"]
        if before.empty or after.empty:
            continue
        rate, low, high = (float(before[name].iloc[0]) for name in ("rate", "low", "high"))
        mean = float(after["rate"].mean())
        if (mean < low) if behavior.wanted else (mean > high):
            rows.append(Worse(behavior.name, rate, mean))
    return rows


def flipped(store: Store, measured: pd.DataFrame, behavior: Behavior) -> pd.Series | None:
    """A held-out prompt that shows what the edit did: `prompt, before, after, arm, seed`.

    The completions are of the policy and of the edited model, both scored, different in the flag in
    the direction of the edit's aim; the first in the order of prompts. None where no prompt has
    such a pair of completions.
    """
    arms = {arm: measured[measured["arm"] == arm] for arm in ("policy", "edited")}
    if any(rows.empty for rows in arms.values()):
        return None
    policy, edited = (
        _completions(store, str(rows["evaluate"].iloc[0]), behavior) for rows in arms.values()
    )
    policy = policy[policy[behavior.flag] == (not behavior.wanted)]
    edited = edited[edited[behavior.flag] == behavior.wanted]
    both = policy.merge(edited, on=["prompt_id", "prompt"], suffixes=("_policy", "_edited"))
    if both.empty:
        return None
    row = both.iloc[0]
    names = {"prompt": "prompt", "completion_policy": "before", "completion_edited": "after"}
    return row[list(names)].rename(names)


def _state(
    over_seeds: Interval, over_prompts: Interval, better: bool, worth: float
) -> tuple[State, str]:
    """The verdict and, unless it worked, why."""
    n = over_seeds.n
    if not n:
        return "not yet proven", "Its random control is not measured with the same training seed."
    if n < LEAST_SEEDS:
        return "not yet proven", f"How retrainings differ shows from {LEAST_SEEDS} seeds on."
    if np.isnan(over_prompts.low):
        return "not yet proven", f"{over_prompts.n} prompts are too few: {LEAST_PROMPTS} at least."
    if max(over_seeds.high, over_prompts.high) < worth:
        return "did not work", f"A benefit of {100 * worth:.0f} points or more is ruled out."
    if min(over_seeds.low, over_prompts.low) <= 0 or over_seeds.value < worth:
        return "not yet proven", "The difference from the control may be chance."
    if not better:
        return "not yet proven", "It beats the control, but not the policy's own interval."
    return "worked", ""


def _over_seeds(benefits: pd.Series) -> Interval:
    if len(benefits) >= LEAST_SEEDS:
        return seed_interval(list(benefits))
    return UNKNOWN._replace(value=float(benefits.mean()), n=len(benefits))


def _over_prompts(
    store: Store, by_seed: pd.DataFrame, seeds: Sequence[int], behavior: Behavior
) -> Interval:
    """Mean over seeds of the benefit, prompts resampled; every seed has both arms."""
    if not seeds:
        return UNKNOWN
    runs = by_seed.set_index(["seed", "arm"])["evaluate"]
    counts = [
        [_counts(store, runs[seed, arm], behavior) for arm in ("random control", "edited")]
        for seed in seeds
    ]
    prompts = sorted({name for pair in counts for table in pair for name in table.index})
    tables = np.array(
        [[t.reindex(prompts, fill_value=0).to_numpy(float) for t in pair] for pair in counts]
    )  # (seed, arm, prompt, [flagged, scored])
    sign = -1 if behavior.wanted else 1

    def benefit(times: NDArray[np.float64]) -> NDArray[np.float64]:
        flagged, scored = np.moveaxis(np.einsum("dp,sapc->dsac", times, tables), -1, 0)
        rates = np.divide(flagged, scored, where=scored > 0, out=np.full_like(scored, np.nan))
        means: NDArray[np.float64] = sign * (rates[..., 0] - rates[..., 1]).mean(axis=1)
        return means

    interval = bootstrap(benefit, len(prompts))
    return interval if interval.n >= LEAST_PROMPTS else interval._replace(low=np.nan, high=np.nan)


def _counts(store: Store, run: str, behavior: Behavior) -> pd.DataFrame:
    """Flagged and scored completions of every prompt."""
    flags = _completions(store, run, behavior).dropna(subset=behavior.flag)
    grouped = flags[behavior.flag].astype(bool).groupby(flags["prompt_id"])
    return grouped.agg(["sum", "count"])


def _completions(store: Store, run: str, behavior: Behavior) -> pd.DataFrame:
    columns = ["prompt_id", "group", "condition", "prompt", "completion", behavior.flag]
    rows = read_table(store.output(run) / "completions.parquet", columns=columns)
    cell = (rows["group"] == behavior.group) & (rows["condition"] == behavior.condition)
    return rows[cell]


def _seeds(n: int) -> str:
    return f"{n} training seed" + "s" * (n > 1)


def _in_words(changes: Sequence[Worse]) -> str:
    if not changes:
        return "Nothing else got worse."
    parts = [f"{w.behavior} {w.before:.1%} → {w.after:.1%}" for w in changes]
    return f"What got worse: {'; '.join(parts)}."


def _bounds(interval: Interval) -> str:
    if np.isnan(interval.low):
        return "none (too few)"
    return f"[{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"
