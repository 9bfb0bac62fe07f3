"""The edit itself: entries of the cart changed, combined, freed of conflicts, saved and compared.

Every press is one change of the log, so that one undo takes it back, whoever else is editing.
"""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from core.intervention.edits.checks import conflicts, overlap, without
from core.intervention.edits.votes import WITHOUT
from core.specs.events import Add, Drop, Put, SaveEdit
from core.specs.recipe_text import describe_edit, describe_recipe
from core.specs.recipes import Edit, Relabel, TopK, Where, combined
from core.stats import ORIGINS
from core.workspace.labels import Entry, Version
from pages.components import cache, cart, selection, text
from pages.components.clusters import history
from pages.components.intervene import dry_run

CHANGES = (Add, Drop, Put, SaveEdit)  # of the log that the undo here is about
JOINS = ("and", "or", "but not")
COLUMN_NAMES = {
    "source": "source",
    "chosen_model": "model that wrote the chosen completion",
    "rejected_model": "model that wrote the rejected completion",
}


def show_entries(entries: Sequence[Entry]) -> None:
    """One row per entry: action, pairs, size; every part can be changed."""
    behaviors = cache.ranked_behaviors()
    for number, entry in enumerate(entries, 1):
        edit, recipe = entry.edit, entry.edit.recipe
        columns = st.columns([2, 6, 2, 1], vertical_alignment="center")
        actions = list(dict.fromkeys([edit.action, *cart.actions()]))
        action = columns[0].selectbox(
            f"Action of entry {number}", actions, disabled=edit.rewrite is not None,
            key=f"change-{entry.id}", label_visibility="collapsed", help=cart.ACTIONS_HELP,
        )  # fmt: skip
        words = text.visible(f"{number} · {describe_recipe(recipe, behaviors)}")
        columns[1].text(words, help=text.escape(edit.why) or None)
        if isinstance(recipe, TopK):
            most = len(cache.table(recipe.rank, "ranking"))
            k = columns[2].number_input(
                f"Pairs of entry {number}", 1, most, min(recipe.k, most), key=f"size-{entry.id}",
                label_visibility="collapsed", help="How many pairs from the top of the ranking.",
            )  # fmt: skip
            if k != recipe.k:
                resized = recipe.model_copy(update={"k": int(k)})
                cart.put([entry], [edit.model_copy(update={"recipe": resized})])
        else:
            columns[2].text(f"{int(selection.mask(recipe).sum()):,} pairs")
        if columns[3].button(
            "✕", key=f"out-{entry.id}", help="Take this entry out", type="tertiary"
        ):
            cart.put([entry], [])
        if action != edit.action:
            cart.put([entry], [cart.edit(action, recipe, edit.why)])
        _show_detail(number, entry)


def _show_detail(number: int, entry: Entry) -> None:
    """The weight, the votes or the two texts of an entry; what can be changed of them."""
    edit = entry.edit
    if edit.action == "weight":
        dry_run.show_weights(number, entry)
    if edit.relabel is not None:
        relabel = _ask_votes(number, entry.id, edit.relabel)
        if relabel != edit.relabel:
            cart.put([entry], [edit.model_copy(update={"relabel": relabel})])
    if edit.rewrite is not None:
        with st.expander(f"Texts of entry {number}"):
            side = edit.rewrite.side
            text.side_by_side(f"{side}, before", edit.rewrite.old, "after", edit.rewrite.new)


def _ask_votes(number: int, entry: int, relabel: Relabel) -> Relabel:
    flags = dict.fromkeys(behavior.flag for behavior in cache.project().behaviors)
    votes = [vote for flag in flags for vote in (flag, WITHOUT + flag)]
    row = st.container(horizontal=True, vertical_alignment="bottom")
    prefer = row.multiselect(
        f"The better completion of entry {number}", dict.fromkeys([*relabel.prefer, *votes]),
        list(relabel.prefer), key=f"prefer-{entry}",
        help="Each flag is one vote of the project's judge, where chosen and rejected differ in "
        "it. Ties and pairs that are not scored stay as they are, and are counted.",
    )  # fmt: skip
    majority = row.number_input(
        "Majority", 0.5, 0.99, relabel.majority, 0.05, key=f"majority-{entry}", width=140,
        help="A pair is flipped where more than this share of its votes is for rejected.",
    )  # fmt: skip
    return Relabel(prefer=tuple(prefer) or relabel.prefer, majority=majority)


def show_tools(entries: Sequence[Entry]) -> None:
    """Undo, combine, drop a source, save: each closed until wanted."""
    row = st.container(horizontal=True)
    history.show_undo(row, cart.catalog().events(), "Undo", changes=CHANGES, key="-edit")
    with row.popover("Combine entries", disabled=len(entries) < 2):
        _combine(entries)
    with row.popover("Drop a source or generator"):
        show_drop()
    with row.popover("Saved edits"):
        _show_saved(entries)


def show_drop() -> None:
    """Pairs of a source, or that a model wrote, as an entry of their own."""
    pairs = cache.pairs(cache.project().pairs)
    columns = [name for name in ORIGINS if name in pairs]
    column = st.selectbox("By", columns, format_func=COLUMN_NAMES.get, key="drop-column")
    counts = pairs[column].astype(str).value_counts().head(selection.OFFERED)
    values = st.multiselect(
        "Pairs of",
        list(counts.index),
        format_func=lambda value: f"{text.short(value, 60)} ({counts[value]:,})",
        key=f"drop-values-{column}",
    )
    if values:
        st.caption("The dry run shows the scores of these pairs and what else is among them.")
    n = int(counts[values].sum())
    if st.button(f"Remove {n:,} pairs", key="drop-source", type="primary", disabled=not values):
        recipe = Where(column=column, values=tuple(values))
        why = f"every pair of {', '.join(values)}"[:200]
        cart.put([], [Edit(action="remove", recipe=recipe, why=why)])


def show_conflicts(entries: Sequence[Entry]) -> bool:
    """Pairs that two entries change differently, with ways out; returns whether there are any."""
    edits = [entry.edit for entry in entries]
    masks = [selection.mask(edit.recipe) for edit in edits]
    conflicting = conflicts(edits, masks, cache.pairs(cache.project().pairs))
    for conflict in conflicting:
        numbers = conflict.first, conflict.second
        first, second = (entries[number] for number in numbers)
        with st.container(border=True):
            question = (
                f"Conflict: entry {numbers[0] + 1} is to {first.edit.action} and entry "
                f"{numbers[1] + 1} to {second.edit.action} the same {conflict.n:,} pairs, such as "
                f"{conflict.example}. Which is meant?"
            )
            st.text(text.visible(question))
            ways = zip(st.columns(2), ((first, second), (second, first)), strict=True)
            for column, (stays, gives_way) in ways:
                action = stays.edit.action
                if column.button(
                    f"{action.capitalize()} them", width="stretch",
                    key=f"{action}-wins-{first.id}-{second.id}",
                ):  # fmt: skip
                    cart.put([gives_way], [without(gives_way.edit, stays.edit)])
    return bool(conflicting)


def show_saved_when_empty() -> None:
    """Ways to start where the cart is empty, such as undoing what emptied it."""
    row = st.container(horizontal=True)
    history.show_undo(row, cart.catalog().events(), "Undo", changes=CHANGES, key="-edit")
    with st.expander("Drop a source or a generator"):
        show_drop()
    if cart.catalog().state().versions:
        with st.expander("Saved edits", expanded=True):
            _open(cart.catalog().state().versions, [])


def _combine(entries: Sequence[Entry]) -> None:
    by_id = {entry.id: entry for entry in entries}
    numbers = {entry.id: str(number) for number, entry in enumerate(entries, 1)}
    chosen = st.multiselect(
        "Entries, in order", list(numbers), format_func=numbers.__getitem__, key="combine-entries"
    )
    how = st.segmented_control("Joined by", JOINS, default="and", required=True, key="combine-how")
    parts = [by_id[entry] for entry in chosen]
    if len(parts) < 2:
        st.caption("Choose two or more entries by their number. “But not” takes the others' pairs "
                   "out of the first one's.")  # fmt: skip
        return
    recipe = combined(how, [entry.edit.recipe for entry in parts])
    n = int(selection.mask(recipe).sum())
    whys = "; ".join(dict.fromkeys(entry.edit.why for entry in parts if entry.edit.why))
    edit = parts[0].edit.model_copy(update={"recipe": recipe, "why": whys})
    st.text(_words(edit))
    label = f"Make one entry of {n:,} pairs"
    if st.button(label, key="combine", type="primary", disabled=not n):
        cart.put(parts, [edit])


def _show_saved(entries: Sequence[Entry]) -> None:
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
    titles = [f"{version.name}, version {version.number} ({version.who})" for version in versions]
    number = st.selectbox(
        "Saved",
        range(len(versions))[::-1],
        format_func=titles.__getitem__,
        key="saved-version",
    )
    edits, title = versions[number].edits, titles[number]
    for edit in edits:
        st.text(_words(edit))
    if st.button("Open in place of the cart", key="open-saved"):
        cart.put(entries, edits)
    others: dict[str, Sequence[Edit]] = {
        other: version.edits
        for other, version in zip(titles, versions, strict=True)
        if other != title
    }
    if entries:
        others = {"what is in the cart": [entry.edit for entry in entries], **others}
    if others:
        other = st.selectbox("Compare with", list(others), key="compare-with")
        _show_difference(edits, others[other], title, other)


def _show_difference(
    first: Sequence[Edit], second: Sequence[Edit], first_title: str, second_title: str
) -> None:
    groups = [
        "touched in the same way by both",
        f"touched only by {first_title}",
        f"touched only by {second_title}",
        "touched by both, in different ways",
    ]
    counts = list(overlap(dry_run.actions(first), dry_run.actions(second)))
    st.dataframe(pd.DataFrame({"pairs": groups, "n": counts}), hide_index=True)
    before, after = ({_words(edit) for edit in edits} for edits in (second, first))
    lines = [*(f"− {words}" for words in sorted(before - after))]
    for line in [*lines, *(f"+ {words}" for words in sorted(after - before))]:
        st.text(line)


def _words(edit: Edit) -> str:
    return text.visible(describe_edit(edit, cache.ranked_behaviors()))
