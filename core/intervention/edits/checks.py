"""Checks of an edit before training: size, conflicts, overlap with another edit, covariate shift.

Edits are compared by what they do to each pair: two recipes may select the same pairs. A flip moves
the loss twice as far as a removal, hence the dose.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from core.intervention.edits.select import Floats, Mask, Pairs, curve_weights, scores
from core.intervention.edits.votes import VOTES
from core.runs.store import Store
from core.specs.recipes import AllOf, Edit, NoneOf

DOSE = {"remove": 1, "flip": 2, "relabel": 2, "rewrite": 0, "keep": 0}  # in removed pairs
COUNTED = {
    "remove": "n_removed",
    "flip": "n_flipped",
    "keep": "n_kept",
    "weight": "n_weighted",
    "rewrite": "n_rewritten",
    "relabel": "n_relabel",
}
NOTABLE = 0.5  # standard deviations of covariate shift


WORDS = {
    "n_removed": "removed",
    "n_flipped": "flipped",
    "n_weighted": "weighted",
    "n_rewritten": "rewritten",
    "n_relabel": "to be judged",
}


class Conflict(NamedTuple):
    """Two edits with different actions, by their place in the list, that select the same pairs."""

    first: int
    second: int
    n: int
    example: str  # a pair's uid


class Overlap(NamedTuple):
    """Numbers of pairs that two edits touch."""

    same: int  # with the same action
    only_first: int
    only_second: int
    different: int  # with different actions


def doses(actions: pd.DataFrame) -> Floats:
    """(row,) what each action takes out of the loss, in removed pairs; a weight w takes 1 − w.

    What a rewrite takes out is not known before the pair is scored again, and counts 0.
    """
    dose: Floats = np.array(actions["action"].map(DOSE), np.float64)
    weighted = actions["action"].eq("weight").to_numpy()
    if weighted.any():
        dose[weighted] = 1 - actions["weight"].to_numpy(float)[weighted]
    return dose


def summarize(pairs: Pairs, actions: pd.DataFrame) -> dict[str, Any]:
    """Sizes: `n_pairs` left, `n_removed, n_flipped, n_kept, share, dose`, and `per_source`.

    `n_weighted, n_rewritten, n_relabel` and `votes` (a judge's, by outcome) where there are any;
    `n_relabel` pairs still have to be judged. `share` is the part of all pairs that is changed;
    `dose` is the same with a flip counted as two removals and a weight w as 1 − w of one.
    """
    counts = actions["action"].value_counts()
    n: dict[str, Any] = {name: int(counts.get(action, 0)) for action, name in COUNTED.items()}
    if "vote" in actions and actions["vote"].notna().any():
        n["votes"] = {vote: int(actions["vote"].eq(vote).sum()) for vote in VOTES}
    return {
        "n_pairs": len(pairs) - n["n_removed"],
        **{k: v for k, v in n.items() if v or k in ("n_removed", "n_flipped", "n_kept")},
        "share": float(actions["action"].ne("keep").sum()) / len(pairs),
        "dose": float(doses(actions).sum()) / len(pairs),
        "per_source": _per_source(pairs, actions),
    }


def weights_by_score(edit: Edit, uids: pd.Series, store: Store, bins: int = 20) -> pd.DataFrame:
    """`low, high, pairs, weights` per interval of the score that a curve weights by.

    `uids` are the pairs that the edit selects; `weights` is the sum of their weights, what is left
    of them in the loss.
    """
    assert edit.curve is not None
    values, weights = curve_weights(edit.curve, uids, store)
    ranked = ~np.isnan(values)
    pairs, edges = np.histogram(values[ranked], bins)
    sums, _ = np.histogram(values[ranked], edges, weights=weights[ranked])
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "pairs": pairs, "weights": sums})


def attribution_share(
    edits: Sequence[Edit], actions: pd.DataFrame, store: Store
) -> dict[str, float]:
    """Per ranking that the recipes read: the part of its positive scores that is touched."""
    runs = {run for edit in edits for run in edit.runs() if run.startswith("rank-")}
    touched = actions.loc[actions["action"] != "keep", "uid"]
    shares = {}
    for run in sorted(runs):
        positive = scores(run, store).clip(lower=0)
        total = float(positive.sum())
        shares[run] = float(positive[positive.index.isin(touched)].sum()) / total if total else 0.0
    return shares


def n_touched(summary: Mapping[str, Any]) -> int:
    """How many pairs an edit changes, or asks a judge about, by its `summarize`."""
    return sum(summary.get(name, 0) for name in COUNTED.values() if name != "n_kept")


def in_words(summary: Mapping[str, Any]) -> str:
    """Numbers of pairs by what is done to them, such as `40 flipped, 3 weighted`."""
    names = [n for n in WORDS if summary.get(n) or n in ("n_removed", "n_flipped")]
    words = [f"{summary.get(name, 0):,} {WORDS[name]}" for name in names]
    votes = [f"{n:,} {vote}" for vote, n in summary.get("votes", {}).items()]
    return ", ".join(words) + (f" (the judge's votes: {', '.join(votes)})" if votes else "")


def conflicts(edits: Sequence[Edit], masks: Sequence[Mask], pairs: Pairs) -> list[Conflict]:
    """Every two edits with different actions that meet, leaving out pairs that another one keeps.

    `masks`: the pairs that each edit's recipe selects, (pair,) each. `apply.plan` refuses them.
    """
    free = ~protected(edits, masks, len(pairs))
    meetings = []
    for i, j in combinations(range(len(edits)), 2):
        if edits[i].action != edits[j].action and "keep" not in (edits[i].action, edits[j].action):
            both = masks[i] & masks[j] & free
            if both.any():
                example = str(pairs["uid"][both].iloc[0])
                meetings.append(Conflict(i, j, int(both.sum()), example))
    return meetings


def protected(edits: Sequence[Edit], masks: Sequence[Mask], n: int) -> Mask:
    """(n,) True for the pairs that an edit keeps, whatever the others say."""
    keeping = [mask for edit, mask in zip(edits, masks, strict=True) if edit.action == "keep"]
    kept: Mask = np.logical_or.reduce([np.zeros(n, dtype=bool), *keeping])
    return kept


def without(edit: Edit, other: Edit) -> Edit:
    """The edit without the pairs of another one: a way out of a conflict."""
    recipe = AllOf(parts=(edit.recipe, NoneOf(parts=(other.recipe,))))
    return edit.model_copy(update={"recipe": recipe})


def overlap(first: pd.DataFrame, second: pd.DataFrame) -> Overlap:
    """Of two tables of actions, as `apply.plan` gives them; kept pairs count as untouched."""
    a, b = (
        table[table["action"] != "keep"].set_index("uid")["action"] for table in (first, second)
    )
    shared = a.index.intersection(b.index)
    same = int((a[shared] == b[shared]).sum())
    return Overlap(same, len(a) - len(shared), len(b) - len(shared), len(shared) - same)


def covariate_shift(lengths: pd.DataFrame, touched: Mask, norms: Floats | None) -> pd.DataFrame:
    """`what, touched, rest, difference`: means of lengths in characters, and of vector norms.

    `difference` is in standard deviations of all pairs. Where it is large, retraining may change
    what it does because of lengths or norms rather than because of what the pairs say. `lengths`
    has `prompt, chosen, rejected`; `touched` and `norms` are (pair,), norms NaN where undefined
    and None where nothing is ranked. NaN where touched or rest are empty.
    """
    measures = {f"{name}, characters": lengths[name] for name in lengths}
    measures["chosen minus rejected, characters"] = lengths["chosen"] - lengths["rejected"]
    if norms is not None:
        measures["norm of the datapoint vector"] = pd.Series(norms)
    rows = []
    for name, values in measures.items():
        mean, rest, spread = values[touched].mean(), values[~touched].mean(), values.std()
        rows.append((name, mean, rest, (mean - rest) / spread if spread else float("nan")))
    return pd.DataFrame(rows, columns=["what", "touched", "rest", "difference"])


def _per_source(pairs: Pairs, actions: pd.DataFrame) -> list[dict[str, Any]]:
    touched = pairs["uid"].isin(actions["uid"]).to_numpy(dtype=bool)
    action = pairs["uid"][touched].map(actions.set_index("uid")["action"])
    edited = Counter(zip(pairs["source"][touched], action, strict=True))
    return [
        {
            "source": source,
            "n": int(n),
            "removed": edited[source, "remove"],
            "flipped": edited[source, "flip"],
        }
        for source, n in pairs["source"].value_counts().sort_index().items()
    ]
