"""Who changed what, when and why; undo, redo, and taking the labels elsewhere."""

from datetime import datetime

import pandas as pd
import streamlit as st

from core.intervention import wording
from core.runs.catalog import Catalog
from core.runs.changes import (
    Add,
    Assign,
    Drop,
    Event,
    Forget,
    Mark,
    Merge,
    Name,
    Note,
    Save,
    Split,
    Undo,
)
from core.runs.edit_changes import Put, SaveEdit, Verdict
from core.runs.labels import in_force
from pages import _cart, _text


def show(catalog: Catalog) -> None:
    """Undo and redo of one's own changes, the log, and the export."""
    st.header("History")
    events = catalog.events()
    undo, redo, export = st.columns([1, 1, 2])
    own = [event for event in in_force(events) if event.who == _cart.who()]
    if undo.button("↩ Undo my last change", disabled=not own, key="undo"):
        catalog.undo(who=_cart.who())
        st.rerun()
    undone = bool(events) and isinstance(events[-1].change, Undo)
    if redo.button("↪ Redo", disabled=not undone, key="redo"):
        catalog.redo(who=_cart.who())
        st.rerun()
    export.download_button(
        "Export names, marks and notes (JSON)",
        catalog.export_labels(),
        "labels.json",
        "application/json",
        key="export-labels",
    )
    if not events:
        st.caption("Nothing was changed yet.")
        return
    st.dataframe(pd.DataFrame(_rows(events)), hide_index=True, height=240)


def _rows(events: list[Event]) -> list[dict[str, str]]:
    holding = {event.id for event in in_force(events)}
    return [
        {
            "event": str(event.id),
            "when": datetime.fromtimestamp(event.time).strftime("%Y-%m-%d %H:%M:%S"),
            "who": event.who,
            "what": _text.short(_said(event), 120),
            "why": event.why,
            "": "" if event.id in holding or isinstance(event.change, Undo) else "undone",
        }
        for event in reversed(events)
    ]


def _said(event: Event) -> str:
    match event.change:
        case Name(cluster=cluster, name=name):
            return f"named cluster {cluster} “{name}”" if name else f"unnamed cluster {cluster}"
        case Mark(cluster=cluster, mark=mark):
            return f"marked cluster {cluster} {mark or 'with nothing'}"
        case Note(cluster=cluster, text=text):
            return f"noted on cluster {cluster}: {text}"
        case Merge(cluster=cluster, others=others):
            return f"merged {', '.join(map(str, others))} into cluster {cluster}"
        case Split(cluster=cluster, new=new):
            return f"split cluster {new} from cluster {cluster}"
        case Assign(cluster=cluster, recipe=recipe, new=new):
            return f"{'made' if new else 'moved into'} cluster {cluster}: {wording.words(recipe)}"
        case Save(name=name, recipe=recipe):
            return f"saved “{name}”: {wording.words(recipe)}"
        case Forget(name=name):
            return f"forgot the saved selection “{name}”"
        case Add(edit=edit):
            return f"cart: {wording.edit_words(edit)}"
        case Drop(entries=entries):
            return f"took {len(entries)} out of the cart"
        case Put(entries=entries, edits=edits):
            said = "; ".join(wording.edit_words(edit) for edit in edits) or "nothing"
            return f"cart: {len(entries)} entries became {said}"
        case SaveEdit(name=name):
            return f"saved the edit “{name}”"
        case Verdict(flag=flag, shown=shown):
            said = "cannot tell" if shown is None else flag if shown else f"not {flag}"
            return f"spot-check: {said}"
        case Undo(event=undone):
            return f"undid event {undone}"
    raise TypeError(f"{type(event.change).__name__} is not a change")
