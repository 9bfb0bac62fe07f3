"""The edit itself: entries of the cart changed, combined, narrowed, mended, saved and compared.

Every press is one change of the log, so that one undo takes it back, whoever else is editing.
"""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from core.attribution.enrichment import COLUMNS
from core.intervention.edits.checks import conflicts, overlap, without
from core.specs.events import Add, Drop, Put, SaveEdit
from core.specs.recipes import Edit, TopK, Where, combined, describe_edit, describe_recipe
from core.workspace.labels import Entry, Version, in_force, latest_undo
from pages.components import cache, cart, selection, shortcuts, text
from pages.components.intervene import dry_run

OF_EDITS = (Add, Drop, Put, SaveEdit)
JOINS = ("and", "or", "but not")


def show_entries(entries: Sequence[Entry]) -> None:
    """One row per entry: what is done, to which pairs, how many; every part can be changed."""
    behaviors = cache.ranked_behaviors()
    for number, entry in enumerate(entries, 1):
        edit, recipe = entry.edit, entry.edit.recipe
        act, what, size, out = st.columns([2, 6, 2, 1], vertical_alignment="center")
        action = act.selectbox(
            f"Action of entry {number}",
            list(cart.ACTIONS),
            index=cart.ACTIONS.index(edit.action),
            key=f"change-{entry.id}",
            label_visibility="collapsed",
            help=cart.ACTIONS_HELP,
        )
        n = int(selection.mask(recipe).sum())
        said = f"{number} · {describe_recipe(recipe, behaviors)}"
        what.text(text.visible(said), help=text.escape(edit.why) or None)
        if isinstance(recipe, TopK):
            most = len(cache.table(recipe.rank, "ranking"))
            k = size.number_input(
                f"Pairs of entry {number}",
                1,
                most,
                min(recipe.k, most),
                key=f"size-{entry.id}",
                label_visibility="collapsed",
                help="How many pairs from the top of the ranking; what it touches follows at once.",
            )
            if k != recipe.k:
                _replace(entry, edit.model_copy(update={"recipe": _with_k(recipe, k)}))
        else:
            size.text(f"{n:,} pairs")
        if out.button("✕", key=f"out-{entry.id}", help="Take this entry out", type="tertiary"):
            _put([entry], [])
        if action != edit.action:
            _replace(entry, edit.model_copy(update={"action": action}))


def show_tools(entries: Sequence[Entry]) -> None:
    """Undo, combine, drop a source, save: each closed until wanted."""
    row = st.container(horizontal=True)
    events, who = cart.catalog().events(), cart.who()
    own = [e.id for e in in_force(events) if e.who == who and isinstance(e.change, OF_EDITS)]
    if row.button(
        "↩ Undo",
        key="undo-edit",
        disabled=not own,
        shortcut=shortcuts.UNDO,
        help="Your latest change here",
    ):
        cart.catalog().undo(own[-1], who=who)
        st.rerun()
    undone = latest_undo(events, who) is None
    if row.button(
        "↪ Redo",
        key="redo-edit",
        disabled=undone,
        shortcut=shortcuts.REDO,
        help="What you undid last",
    ):
        cart.catalog().redo(who=cart.who())
        st.rerun()
    with row.popover("Combine entries", disabled=len(entries) < 2):
        _combine(entries)
    with row.popover("Drop a source or generator"):
        show_drop()
    with row.popover("Saved edits"):
        _saved(entries)


def show_drop() -> None:
    """Pairs of a source, or that a model wrote, as an entry of their own."""
    pairs = cache.pairs(cache.project().pairs)
    known = [name for name in COLUMNS if name in pairs]
    column = st.selectbox("By", known, format_func=_named, key="drop-column")
    counts = pairs[column].astype(str).value_counts().head(selection.OFFERED)
    values = st.multiselect(
        "Pairs of",
        list(counts.index),
        format_func=lambda value: f"{text.short(value, 60)} ({counts[value]:,})",
        key=f"drop-values-{column}",
    )
    if values:
        st.caption("Scored pairs among them, and what else they hold, show in the dry run.")
    n = int(counts[values].sum())
    if st.button(f"Remove {n:,} pairs", key="drop-source", type="primary", disabled=not values):
        recipe = Where(column=column, values=tuple(values))
        why = f"every pair of {', '.join(values)}"[:200]
        _put([], [Edit(action="remove", recipe=recipe, why=why)])


def show_conflicts(entries: Sequence[Entry]) -> bool:
    """Pairs that are both flipped and removed, with ways out; returns whether there are any."""
    edits = [entry.edit for entry in entries]
    masks = [selection.mask(edit.recipe) for edit in edits]
    found = conflicts(edits, masks, cache.pairs(cache.project().pairs))
    for one in found:
        flip, remove = entries[one.flips], entries[one.removes]
        with st.container(border=True):
            st.text(
                text.visible(
                    f"Conflict: entry {one.flips + 1} flips and entry {one.removes + 1} removes "
                    f"the same {one.n:,} pairs, such as {one.example}. Which is meant?"
                )
            )
            left, right = st.columns(2)
            key = f"{flip.id}-{remove.id}"
            if left.button("Flip them", key=f"flip-wins-{key}", width="stretch"):
                _replace(remove, without(remove.edit, flip.edit))
            if right.button("Remove them", key=f"remove-wins-{key}", width="stretch"):
                _replace(flip, without(flip.edit, remove.edit))
    return bool(found)


def show_saved_when_empty() -> None:
    """Ways to start where the cart is empty."""
    with st.expander("Drop a source or a generator"):
        show_drop()
    if cart.catalog().state().versions:
        with st.expander("Saved edits", expanded=True):
            _open(cart.catalog().state().versions, [])


def _combine(entries: Sequence[Entry]) -> None:
    names = {entry.id: str(number) for number, entry in enumerate(entries, 1)}
    chosen = st.multiselect(
        "Entries, in order", list(names), format_func=names.__getitem__, key="combine-entries"
    )
    how = st.segmented_control("Joined by", JOINS, default="and", required=True, key="combine-how")
    parts = [entry for entry in entries if entry.id in chosen]
    parts.sort(key=lambda entry: chosen.index(entry.id))
    if len(parts) < 2:
        st.caption("Choose two or more entries by their number. “But not” takes the others' pairs "
                   "out of the first one's.")  # fmt: skip
        return
    recipe = combined(how, [entry.edit.recipe for entry in parts])
    n = int(selection.mask(recipe).sum())
    whys = "; ".join(dict.fromkeys(entry.edit.why for entry in parts if entry.edit.why))
    edit = Edit(action=parts[0].edit.action, recipe=recipe, why=whys)
    st.text(text.visible(describe_edit(edit, cache.ranked_behaviors())))
    label = f"Make one entry of {n:,} pairs"
    if st.button(label, key="combine", type="primary", disabled=not n):
        _put(parts, [edit])


def _saved(entries: Sequence[Entry]) -> None:
    name = st.text_input("Name", key="save-name", placeholder="such as: top 250, chat kept")
    versions = cart.catalog().state().versions
    if st.button("Save this edit", key="save-edit", disabled=not (name.strip() and entries)):
        change = SaveEdit(name=name.strip(), edits=tuple(entry.edit for entry in entries))
        cart.catalog().change(change, who=cart.who())
        st.rerun()
    if versions:
        st.divider()
        _open(versions, entries)


def _open(versions: Sequence[Version], entries: Sequence[Entry]) -> None:
    number = st.selectbox(
        "Saved",
        range(len(versions))[::-1],
        format_func=lambda place: _version(versions[place]),
        key="saved-version",
    )
    chosen = versions[number]
    for edit in chosen.edits:
        st.text(text.visible(describe_edit(edit, cache.ranked_behaviors())))
    if st.button("Open in place of the cart", key="open-saved"):
        _put(entries, chosen.edits)
    others: dict[str, Sequence[Edit]] = {_version(v): v.edits for v in versions if v != chosen}
    if entries:
        others = {"what is in the cart": [entry.edit for entry in entries], **others}
    if others:
        other = st.selectbox("Compare with", list(others), key="compare-with")
        _show_difference(chosen.edits, others[other], _version(chosen), other)


def _show_difference(first: Sequence[Edit], second: Sequence[Edit], one: str, two: str) -> None:
    found = overlap(dry_run.actions(first), dry_run.actions(second))
    st.dataframe(
        pd.DataFrame(
            {
                "pairs": [
                    "touched alike by both",
                    f"touched only by {one}",
                    f"touched only by {two}",
                    "touched by both, in different ways",
                ],
                "n": list(found),
            }
        ),
        hide_index=True,
    )
    said = [{describe_edit(e, cache.ranked_behaviors()) for e in side}
            for side in (first, second)]  # fmt: skip
    for sign, words in (("−", said[1] - said[0]), ("+", said[0] - said[1])):
        for word in sorted(words):
            st.text(text.visible(f"{sign} {word}"))


def _version(version: Version) -> str:
    return f"{version.name}, version {version.number} ({version.who})"


def _with_k(recipe: TopK, k: int) -> TopK:
    return recipe.model_copy(update={"k": int(k)})


def _replace(entry: Entry, edit: Edit) -> None:
    _put([entry], [edit])


def _put(entries: Sequence[Entry], edits: Sequence[Edit]) -> None:
    change = Put(entries=tuple(entry.id for entry in entries), edits=tuple(edits))
    cart.catalog().change(change, who=cart.who())
    st.rerun()


def _named(column: str) -> str:
    return {"source": "source", "chosen_model": "model that wrote the chosen completion",
            "rejected_model": "model that wrote the rejected completion"}[column]  # fmt: skip
