"""Actions of an edit on the pairs, its random control, and its size in numbers.

An edit removes, flips or keeps the pairs of its recipe; `keep` protects pairs from the other
edits. A flip exchanges chosen and rejected (every column that comes in such a pair) and toggles
`flipped`, so flipping twice is the identity. It moves the loss twice as far as removing, hence
the dose. Knows nothing of training.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from core.data.pair_table import PairColumns
from core.errors import UserError
from core.intervention.edits.select import Mask, Pairs, scores, select
from core.runs.store import Store
from core.specs.recipes import Edit

COLUMNS = ["uid", "action", "why"]
DOSE = {"remove": 1, "flip": 2, "keep": 0}  # in removed pairs
TOUCHES_NONE = "the edit touches no pair: its recipes select none, or all are kept."


def plan(edits: Sequence[Edit], pairs: Pairs, store: Store) -> pd.DataFrame:
    """`uid, action, why`, one row per pair that an edit touches, in the pairs' order.

    Raises `UserError` where a pair is both removed and flipped, where no pair is touched, and
    where none is left.
    """
    return planned(edits, [select(edit.recipe, pairs, store) for edit in edits], pairs)


def planned(edits: Sequence[Edit], masks: Sequence[Mask], pairs: Pairs) -> pd.DataFrame:
    """The same, of edits whose recipes select `masks`, each (pair,)."""
    actions = np.full(len(pairs), "", dtype=object)
    kept = protected(edits, masks, len(pairs))
    removed = _any(edits, masks, "remove", len(pairs)) & ~kept
    flipped = _any(edits, masks, "flip", len(pairs)) & ~kept
    _refuse_conflicts(pairs, removed & flipped)
    actions[removed], actions[flipped], actions[kept] = "remove", "flip", "keep"
    if edits and not (removed | flipped).any():
        raise UserError(TOUCHES_NONE)
    if removed.all():
        raise UserError("the edit leaves no pairs to train on. Remove fewer.")
    reasons = np.full(len(pairs), "", dtype=object)
    for edit, mask in zip(edits, masks, strict=True):
        rows = mask & (actions == edit.action)
        reasons[rows] = [f"{why}; {edit.why}" if why else edit.why for why in reasons[rows]]
    table = pd.DataFrame({"uid": pairs["uid"], "action": actions, "why": reasons})
    return table[table["action"] != ""].reset_index(drop=True)


def protected(edits: Sequence[Edit], masks: Sequence[Mask], n: int) -> Mask:
    """(n,) True for the pairs that an edit keeps, whatever the others say."""
    return _any(edits, masks, "keep", n)


def arm(pairs: PairColumns, actions: pd.DataFrame) -> Iterator[pa.Table]:
    """The arm's pairs, some thousands at a time; `actions` are in the pairs' order."""
    places, start = pairs.positions(actions["uid"]), 0
    for batch in pairs.batches():
        first, last = np.searchsorted(places, [start, start + len(batch)])
        yield apply(batch, actions.iloc[first:last])
        start += len(batch)


def apply(pairs: pa.Table, actions: pd.DataFrame) -> pa.Table:
    """The arm's pairs: without removed ones, flipped ones exchanged, in the same order.

    Two columns that are exchanged get a type that fits the values of both.
    """
    flips, removed = (_among(pairs, actions, action) for action in ("flip", "remove"))
    edited = pairs
    for chosen, rejected in _exchanged(pairs.column_names):
        edited = _with(edited, chosen, pc.if_else(flips, pairs[rejected], pairs[chosen]))
        edited = _with(edited, rejected, pc.if_else(flips, pairs[chosen], pairs[rejected]))
    if "flipped" in pairs.column_names:
        flips = pc.xor(flips, pc.fill_null(pairs["flipped"].cast(pa.bool_()), False))
    return _with(edited, "flipped", flips).filter(pc.invert(removed))


def random_control(pairs: pd.DataFrame, actions: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Random actions of the same sizes: as many removals and flips, source by source.

    Samples, without replacement, from the pairs that the edit leaves alone, so that the control
    shares no pair with it. Where a source has too few of those, the rest comes from other
    sources, and `why` says so. Raises `UserError` where the edit leaves too few pairs in all.
    """
    free = pairs[~pairs["uid"].isin(actions["uid"])].sample(frac=1, random_state=seed)
    wanted = _sizes(pairs, actions)
    if len(free) < wanted.total():
        raise UserError(
            f"no random control: the edit touches {wanted.total()} of {len(pairs)} pairs and "
            f"leaves {len(free)} to draw as many from. Edit fewer."
        )
    parts = []
    for (action, source), size in sorted(wanted.items()):
        drawn = free[free["source"] == source].head(size)
        free = free.drop(drawn.index)
        wanted[action, source] -= len(drawn)
        parts.append(drawn.assign(action=action, why=f"random control, seed {seed}"))
    for (action, source), size in sorted(wanted.items()):
        why = f"random control, seed {seed}; {source!r} has too few pairs left"
        parts.append(free.head(size).assign(action=action, why=why))
        free = free.iloc[size:]
    return pd.concat(parts).sort_index()[COLUMNS].reset_index(drop=True)


def unmatched(pairs: pd.DataFrame, actions: pd.DataFrame, control: pd.DataFrame) -> int:
    """How many actions of a control are in another source than the edit's."""
    return (_sizes(pairs, actions) - _sizes(pairs, control)).total()


def summarize(pairs: Pairs, actions: pd.DataFrame) -> dict[str, Any]:
    """Sizes: `n_pairs` left, `n_removed, n_flipped, n_kept, share, dose`, and `per_source`.

    `share` is the part of all pairs that is removed or flipped; `dose` is the same with a flip
    counted as two removals.
    """
    counts = actions["action"].value_counts()
    n = {action: int(counts.get(action, 0)) for action in DOSE}
    return {
        "n_pairs": len(pairs) - n["remove"],
        "n_removed": n["remove"],
        "n_flipped": n["flip"],
        "n_kept": n["keep"],
        "share": (n["remove"] + n["flip"]) / len(pairs),
        "dose": sum(DOSE[action] * n[action] for action in DOSE) / len(pairs),
        "per_source": _per_source(pairs, actions),
    }


def attribution_share(
    edits: Sequence[Edit], actions: pd.DataFrame, store: Store
) -> dict[str, float]:
    """Per ranking that the recipes read: the part of its positive scores that is touched."""
    runs = {run for edit in edits for run in edit.recipe.runs() if run.startswith("rank-")}
    touched = actions.loc[actions["action"] != "keep", "uid"]
    shares = {}
    for run in sorted(runs):
        positive = scores(run, store).clip(lower=0)
        total = float(positive.sum())
        shares[run] = float(positive[positive.index.isin(touched)].sum()) / total if total else 0.0
    return shares


def _sizes(pairs: pd.DataFrame, actions: pd.DataFrame) -> Counter[tuple[str, str]]:
    """How many pairs of each source are removed, and flipped."""
    edited = actions[actions["action"] != "keep"].merge(pairs[["uid", "source"]], on="uid")
    return Counter(zip(edited["action"], edited["source"], strict=True))


def _any(edits: Sequence[Edit], masks: Sequence[Mask], action: str, n: int) -> Mask:
    """(n,) True for the pairs that any edit with this action selects."""
    matching = [mask for edit, mask in zip(edits, masks, strict=True) if edit.action == action]
    selected: Mask = np.logical_or.reduce([np.zeros(n, dtype=bool), *matching])
    return selected


def _refuse_conflicts(pairs: Pairs, both: Any) -> None:
    if both.any():
        example = pairs["uid"][both].iloc[0]
        raise UserError(
            f"{int(both.sum())} pairs are both removed and flipped, such as {example!r}. "
            "Narrow one of the two recipes."
        )


def _among(pairs: pa.Table, actions: pd.DataFrame, action: str) -> pa.ChunkedArray:
    """(pair,) True for the pairs with this action."""
    uids = actions.loc[actions["action"] == action, "uid"]
    return pc.is_in(pairs["uid"], pa.array(uids, pairs["uid"].type))


def _with(pairs: pa.Table, name: str, values: pa.ChunkedArray) -> pa.Table:
    """The table with another column of this name, in its place, or as its last."""
    if name not in pairs.column_names:
        return pairs.append_column(name, values)
    return pairs.set_column(pairs.column_names.index(name), name, values)


def _exchanged(names: Sequence[str]) -> list[tuple[str, str]]:
    """Columns of chosen, each with its counterpart of rejected."""
    chosen = [name for name in names if name.startswith("chosen")]
    both = [(name, "rejected" + name.removeprefix("chosen")) for name in chosen]
    return [(name, other) for name, other in both if other in names]


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
