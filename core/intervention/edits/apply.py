"""Actions of an edit on the pairs, and its random control.

An edit removes, flips, weights, rewrites, relabels or keeps the pairs of its recipe; `keep`
protects pairs from the other edits. A flip exchanges chosen and rejected (every column that comes
in such a pair) and toggles `flipped`, so flipping twice is the identity. A weight, the same for all
or by a curve over scores, multiplies the column `weight`, by which training multiplies each pair's
loss. A rewrite replaces one text by another. Relabelling becomes flips of the pairs on which a
judge's majority prefers rejected (core.intervention.edits.votes). Knows nothing of training.
"""

import difflib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from core.data.pair_table import PairColumns
from core.errors import UserError
from core.intervention.edits.checks import conflicts, protected
from core.intervention.edits.select import Floats, Mask, Pairs, curve_weights, select
from core.intervention.edits.votes import votes
from core.intervention.evaluation.judges import Judge
from core.runs.store import Store
from core.specs.recipes import Edit

COLUMNS = ["uid", "action", "why", "weight", "chosen", "rejected", "vote"]
SIDES = ("chosen", "rejected")
TOUCHES_NONE = (
    "the edit touches no pair: its recipes select none, all are kept, or no majority is for "
    "rejected."
)


def plan(
    edits: Sequence[Edit], pairs: Pairs, store: Store, judge: Judge | None = None
) -> pd.DataFrame:
    """`COLUMNS`, one row per pair that an edit touches, in the pairs' order.

    `weight` is a factor, `chosen` and `rejected` are new texts, `vote` is what a judge's votes came
    to; empty where nothing of that kind is done. Raises `UserError` where two edits do different
    things to a pair, where no pair is touched, and where none is left. Without a judge, pairs to
    relabel have that action.
    """
    masks = [select(edit.recipe, pairs, store) for edit in edits]
    return planned(edits, masks, pairs, store, judge)


def planned(
    edits: Sequence[Edit],
    masks: Sequence[Mask],
    pairs: Pairs,
    store: Store,
    judge: Judge | None = None,
) -> pd.DataFrame:
    """The same, of edits whose recipes select `masks`, each (pair,)."""
    _refuse_conflicts(edits, masks, pairs)
    kept = protected(edits, masks, len(pairs))
    rows = np.flatnonzero(np.logical_or.reduce([kept, *masks]))
    table = pd.DataFrame({"uid": pairs["uid"].iloc[rows].to_numpy(), "action": "", "why": ""})
    table[COLUMNS[3:]] = np.nan
    table = table.astype(dict.fromkeys(COLUMNS[4:], object))
    for edit, mask in zip(edits, masks, strict=True):
        selected = np.flatnonzero((mask & (kept if edit.action == "keep" else ~kept))[rows])
        if edit.curve:
            _, factors = curve_weights(edit.curve, table["uid"].iloc[selected], store)
            selected, factors = selected[factors != 1], factors[factors != 1]
        else:
            factors = np.full(len(selected), np.nan if edit.weight is None else edit.weight)
        _act(table, selected, edit, factors, lambda at: _texts(pairs, rows[at]), judge)
    if edits and table["action"].isin(["", "keep"]).all():
        raise UserError(TOUCHES_NONE)
    if (table["action"].eq("remove") | table["weight"].eq(0)).sum() == len(pairs):
        raise UserError("the edit leaves no pairs to train on. Remove fewer, or raise weights.")
    return table[table["action"] != ""].reset_index(drop=True)


def arm(pairs: PairColumns, actions: pd.DataFrame) -> Iterator[pa.Table]:
    """The arm's pairs, some thousands at a time; `actions` are in the pairs' order."""
    places, start = pairs.positions(actions["uid"]), 0
    weighted = bool(actions["weight"].notna().any())
    for batch in pairs.batches():
        first, last = np.searchsorted(places, [start, start + len(batch)])
        yield apply(batch, actions.iloc[first:last], weighted=weighted)
        start += len(batch)


def apply(pairs: pa.Table, actions: pd.DataFrame, *, weighted: bool = False) -> pa.Table:
    """The arm's pairs: without removed ones, flipped ones exchanged, in the same order.

    Two columns that are exchanged get a type that fits the values of both. `weighted`: with a
    column `weight`, in which pairs that have none yet start from 1.
    """
    flips, removed = (_among(pairs, actions, action) for action in ("flip", "remove"))
    edited = pairs
    for chosen, rejected in _exchanged(pairs.column_names):
        edited = _with(edited, chosen, pc.if_else(flips, pairs[rejected], pairs[chosen]))
        edited = _with(edited, rejected, pc.if_else(flips, pairs[chosen], pairs[rejected]))
    if "flipped" in pairs.column_names:
        flips = pc.xor(flips, pc.fill_null(pairs["flipped"].cast(pa.bool_()), False))
    if weighted:
        edited = _with(edited, "weight", _weights(pairs, actions))
    for side in SIDES:
        edited = _rewritten(edited, actions, side)
    return _with(edited, "flipped", flips).filter(pc.invert(removed))


def random_control(
    pairs: pd.DataFrame, actions: pd.DataFrame, seed: int, texts: Callable[[Any], pd.DataFrame]
) -> pd.DataFrame:
    """Random actions of the same sizes and kinds, source by source.

    Samples, without replacement, from the pairs that the edit leaves alone, so that the control
    shares no pair with it. Where a source has too few of those, the rest comes from other
    sources, and `why` says so. Weights are the edit's, in random order. For every rewrite, a random
    pair's same side loses as many words as the rewrite changed, at a random place; `texts` has the
    texts of pairs by uid. Raises `UserError` where the edit leaves too few pairs in all.
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
    control = pd.concat(parts).sort_index().reset_index(drop=True).reindex(columns=COLUMNS)
    control = control.astype({"weight": float} | dict.fromkeys(COLUMNS[4:], object))
    draw = np.random.default_rng(seed)
    weights = actions.loc[actions["action"] == "weight", "weight"].to_numpy(float)
    control.loc[control["action"] == "weight", "weight"] = draw.permutation(weights.copy())
    _rewrite_at_random(control, actions[actions["action"] == "rewrite"], texts, draw)
    return control


def unmatched(pairs: pd.DataFrame, actions: pd.DataFrame, control: pd.DataFrame) -> int:
    """How many actions of a control are in another source than the edit's."""
    return (_sizes(pairs, actions) - _sizes(pairs, control)).total()


def _sizes(pairs: pd.DataFrame, actions: pd.DataFrame) -> Counter[tuple[str, str]]:
    """How many pairs of each source are removed, and flipped."""
    edited = actions[actions["action"] != "keep"].merge(pairs[["uid", "source"]], on="uid")
    return Counter(zip(edited["action"], edited["source"], strict=True))


def _act(
    table: pd.DataFrame,
    at: Any,
    edit: Edit,
    factors: Floats,
    texts: Callable[[Any], pd.DataFrame],
    judge: Judge | None,
) -> None:
    """Write an edit into the rows `at` of a table of `COLUMNS`; `texts` has the rows' texts.

    `factors` are the rows' weights, where the edit weights them.
    """
    action, why = np.full(len(at), edit.action, object), np.full(len(at), edit.why, object)
    if edit.relabel and judge and len(at):
        voted = votes(edit.relabel, texts(at), judge)
        table.iloc[at, COLUMNS.index("vote")] = voted["vote"].to_numpy()
        action = np.where(voted["vote"] == "flipped", "flip", "keep")
        why = (f"{edit.why}: " * bool(edit.why) + voted["why"]).to_numpy()
    if edit.action == "weight":
        so_far = table["weight"].iloc[at].fillna(1.0).to_numpy(float)
        table.iloc[at, COLUMNS.index("weight")] = so_far * factors
    if edit.rewrite:
        _refuse_other_texts(texts(at), edit)
        table.iloc[at, COLUMNS.index(edit.rewrite.side)] = edit.rewrite.new
    table.iloc[at, COLUMNS.index("action")] = action
    earlier = table["why"].iloc[at]
    table.iloc[at, COLUMNS.index("why")] = [
        f"{a}; {b}" if a else b for a, b in zip(earlier, why, strict=True)
    ]


def _texts(pairs: Pairs, rows: Any) -> pd.DataFrame:
    return pairs.iloc[rows] if isinstance(pairs, pd.DataFrame) else pairs.rows(rows)


def _refuse_other_texts(pairs: pd.DataFrame, edit: Edit) -> None:
    """`UserError` where a text is not the one that was rewritten, or becomes that of both sides."""
    assert edit.rewrite is not None
    side = edit.rewrite.side
    for uid, text, other in zip(
        pairs["uid"], pairs[side], pairs["rejected" if side == "chosen" else "chosen"], strict=True
    ):
        if text != edit.rewrite.old:
            raise UserError(
                f"pair {uid!r}: its {side} text is not the one that was rewritten. Open the pair "
                "and rewrite it again."
            )
        if other == edit.rewrite.new:
            raise UserError(
                f"pair {uid!r}: chosen and rejected would be the same. Remove the pair instead."
            )


def _rewrite_at_random(
    control: pd.DataFrame,
    rewrites: pd.DataFrame,
    texts: Callable[[Any], pd.DataFrame],
    draw: np.random.Generator,
) -> None:
    """Let the control's rewritten pairs lose as many words as the edit's rewrites changed."""
    rows = control.index[control["action"] == "rewrite"]
    if not len(rows):
        return
    before, drawn = texts(rewrites["uid"]), texts(control.loc[rows, "uid"])
    for row, (at, old) in zip(rows, enumerate(before.to_dict("records")), strict=True):
        for side in SIDES:
            new = rewrites[side].iloc[at]
            if isinstance(new, str):
                words = drawn[side].iloc[at].split(" ")
                n = min(_words_changed(old[side], new), len(words) - 1)
                start = int(draw.integers(len(words) - n + 1))
                text = " ".join([*words[:start], *words[start + n :]])
                if text not in {drawn[name].iloc[at] for name in SIDES}:
                    control.loc[row, side] = text


def _words_changed(old: str, new: str) -> int:
    """How many words of either text the other does not have."""
    a, b = old.split(" "), new.split(" ")
    blocks = difflib.SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()
    return max(len(a), len(b)) - sum(block.size for block in blocks)


def _refuse_conflicts(edits: Sequence[Edit], masks: Sequence[Mask], pairs: Pairs) -> None:
    for conflict in conflicts(edits, masks, pairs):
        first, second = edits[conflict.first].action, edits[conflict.second].action
        raise UserError(
            f"{conflict.n} pairs are to have both {first} and {second}, such as "
            f"{conflict.example!r}. Narrow one of the two recipes."
        )


def _weights(pairs: pa.Table, actions: pd.DataFrame) -> pa.Array:
    """The pairs' weights, times the actions' factors."""
    before = np.ones(len(pairs))
    if "weight" in pairs.column_names:
        before = pd.to_numeric(pairs["weight"].to_pandas(), errors="coerce").to_numpy(float)
    factors = actions.set_index("uid")["weight"].reindex(pairs["uid"].to_pandas()).fillna(1.0)
    return pa.array(before * factors.to_numpy(float))


def _rewritten(pairs: pa.Table, actions: pd.DataFrame, side: str) -> pa.Table:
    """The pairs with the new texts of one side."""
    texts = actions.set_index("uid")[side].dropna() if side in actions else pd.Series()
    if texts.empty:
        return pairs
    values, uids = pairs[side].to_pylist(), pairs["uid"].to_pylist()
    new = [texts.get(uid, old) for uid, old in zip(uids, values, strict=True)]
    return _with(pairs, side, pa.array(new, pairs[side].type))


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
