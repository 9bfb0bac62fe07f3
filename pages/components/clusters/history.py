"""Who changed what, when and why; undo and redo; export and import of labels."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import get_args

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.specs import events
from core.specs.events import Event
from core.specs.recipe_text import describe_edit, describe_recipe
from core.workspace import label_files
from core.workspace.catalog import Catalog
from core.workspace.labels import Labels, about, in_force, latest_undo
from pages.components import cache, cart, pickers, shortcuts, text
from pages.components.clusters import state

LABELS = (*get_args(events.OfCluster), events.Save, events.Forget)  # what the undo here is about
ANNOUNCED = 3  # changes at a time


def announce() -> None:
    """Answer each change of this visit, and tell of those that others made meanwhile.

    A toast that is drawn before a page runs again is lost, so it comes with the run after.
    """
    log, seen = cart.catalog().events(), st.session_state.get("announced")
    st.session_state["announced"] = log[-1].id if log else 0
    if seen is None:
        return
    by_id, behaviors = {event.id: event for event in log}, cache.ranked_behaviors()
    for event in [e for e in log if e.id > seen and not isinstance(e.change, events.Verdict)][
        -ANNOUNCED:
    ]:
        what = text.escape(text.short(_words(event, by_id, behaviors), 120))
        if event.who == cart.who():
            st.toast(f"{what[0].upper()}{what[1:]}. Z undoes it on Clusters and Intervene.")
        else:
            st.toast(f"{text.escape(event.who)} {what}.", icon="👤", duration="long")


def show(catalog: Catalog, run: str, labels: Labels) -> None:
    """Undo and redo, the log, export and import."""
    st.header("History")
    log = catalog.events()
    row = st.container(horizontal=True, vertical_alignment="center")
    show_undo(row, log, "Undo my last change", changes=LABELS)
    if log:
        people = len({event.who for event in log})
        row.caption(f"Changes: {len(log):,} · people: {people}. Click one to undo it.")
        _show_log(log, catalog)
    else:
        row.caption("Nothing was changed yet.")
    with st.expander("Export or import labels", key="open-files"):
        _show_files(catalog, run, labels)


def show_undo(
    row: DeltaGenerator,
    log: Sequence[Event],
    label: str,
    *,
    changes: tuple[type, ...],
    key: str = "",
) -> None:
    """Buttons to undo one's own latest change of some classes, and to redo it."""
    who, log = cart.who(), about(log, changes)
    undoable = [event.id for event in in_force(log) if event.who == who]
    if row.button(
        f"↩ {label}", key=f"undo{key}", disabled=not undoable, shortcut=shortcuts.UNDO,
        help="Your own latest change",
    ):  # fmt: skip
        cart.catalog().undo(undoable[-1], who=who)
        st.rerun()
    if row.button(
        "↪ Redo", key=f"redo{key}", disabled=latest_undo(log, who) is None,
        shortcut=shortcuts.REDO, help="What you undid last",
    ):  # fmt: skip
        cart.catalog().redo(changes, who=who)
        st.rerun()


def _show_log(log: Sequence[Event], catalog: Catalog) -> None:
    """The log, latest first; any change in force can be undone, whoever made it."""
    in_effect = {event.id for event in in_force(log)}
    rows = _rows(log, in_effect)
    clicked = st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        height=min(38 + 35 * len(rows), 240),
        on_select="rerun",
        selection_mode=pickers.ANYWHERE,
        key=f"log-{len(log)}",
    )
    chosen = [int(rows[n]["change"]) for n in pickers.clicked_rows(clicked, len(rows))]
    offered = [event for event in chosen if event in in_effect]
    if offered and st.button(f"Undo change {offered[0]}", key="undo-one"):
        catalog.undo(offered[0], who=cart.who())
        st.rerun()


def _show_files(catalog: Catalog, run: str, labels: Labels) -> None:
    left, right = st.columns(2)
    left.download_button(
        "Names, marks, notes, selections (JSON)", lambda: label_files.to_json(catalog.state()),
        "labels.json", "application/json", key="export-labels", on_click="ignore",
    )  # fmt: skip
    right.download_button(
        "One row per pair (Parquet)",
        lambda: label_files.to_parquet(
            cache.map_points(run).index, state.membership(run, labels), labels
        ),
        "labels.parquet",
        key="export-pairs",
        on_click="ignore",
    )
    file = st.file_uploader("Import labels", ["json", "parquet"], key="bring")
    if file is None:
        return
    if file.name.endswith(".parquet"):
        content = file.getvalue()
        label_files.read_parquet(content)  # refused here, before every later rerun would be
        st.session_state["brought"] = content
        st.caption("Offered above, beside the clusters that share most pairs with each label.")
    elif st.button("Add to the labels of this map", key="bring-now"):
        content = file.getvalue().decode("utf-8", errors="replace")
        catalog.import_labels(content, who=cart.who())
        st.rerun()


def _rows(log: Sequence[Event], in_effect: set[int]) -> list[dict[str, str]]:
    by_id, behaviors = {event.id: event for event in log}, cache.ranked_behaviors()
    return [
        {
            "change": str(event.id),
            "when": datetime.fromtimestamp(event.time).strftime("%Y-%m-%d %H:%M:%S"),
            "who": event.who,
            "what": text.short(_words(event, by_id, behaviors), 120),
            "why": event.why,
            "": "" if event.id in in_effect or isinstance(event.change, events.Undo) else "undone",
        }
        for event in reversed(log)
    ]


def _words(event: Event, by_id: Mapping[int, Event], behaviors: Mapping[str, str]) -> str:
    """What a change did; `behaviors` maps rank runs to what they rank for."""
    match event.change:
        case events.Name(cluster=cluster, name=name):
            return f"named cluster {cluster} “{name}”" if name else f"unnamed cluster {cluster}"
        case events.Mark(cluster=cluster, mark=mark):
            return f"marked cluster {cluster} {mark or 'with nothing'}"
        case events.Note(cluster=cluster, text=note):
            return f"noted on cluster {cluster}: {note}"
        case events.Merge(cluster=cluster, others=others):
            return f"merged {', '.join(map(str, others))} into cluster {cluster}"
        case events.Split(cluster=cluster, new=new):
            return f"split cluster {new} from cluster {cluster}"
        case events.Assign(cluster=cluster, recipe=recipe, new=new):
            verb = "made" if new else "moved into"
            return f"{verb} cluster {cluster}: {describe_recipe(recipe, behaviors)}"
        case events.Save(name=name, recipe=recipe):
            return f"saved “{name}”: {describe_recipe(recipe, behaviors)}"
        case events.Forget(name=name):
            return f"forgot the saved selection “{name}”"
        case events.Add(edit=edit):
            return f"cart: {describe_edit(edit, behaviors)}"
        case events.Drop(entries=entries):
            return f"took {len(entries)} out of the cart"
        case events.Put(entries=entries, edits=edits):
            after = "; ".join(describe_edit(edit, behaviors) for edit in edits) or "nothing"
            return f"cart: {len(entries)} entries became {after}"
        case events.SaveEdit(name=name):
            return f"saved the edit “{name}”"
        case events.Verdict(flag=flag, shown=shown):
            answer = "cannot tell" if shown is None else flag if shown else f"not {flag}"
            return f"spot-check: {answer}"
        case events.Undo(event=undone):
            before = by_id[undone].change
            return (
                f"redid change {before.event}"
                if isinstance(before, events.Undo)
                else f"undid change {undone}"
            )
    raise TypeError(f"{type(event.change).__name__} is not a change")
