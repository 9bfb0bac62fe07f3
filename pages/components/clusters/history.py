"""Who changed what, when and why; undo, redo, and taking the labels elsewhere."""

from collections.abc import Mapping
from datetime import datetime

import pandas as pd
import streamlit as st

from core.specs.events import (
    Add,
    Assign,
    Drop,
    Event,
    Forget,
    Mark,
    Merge,
    Name,
    Note,
    Put,
    Save,
    SaveEdit,
    Undo,
    Verdict,
)
from core.specs.recipes import describe_edit, describe_recipe
from core.workspace import label_files
from core.workspace.catalog import Catalog
from core.workspace.labels import Labels, in_force, latest_undo
from pages.components import cache, cart, shortcuts
from pages.components import text as plain_text
from pages.components.clusters import state


def show(catalog: Catalog, run: str, said: Labels) -> None:
    """Undo and redo, the log, and taking labels out and in."""
    st.header("History")
    events = catalog.events()
    row = st.container(horizontal=True, vertical_alignment="center")
    own = [event for event in in_force(events) if event.who == cart.who()]
    if row.button("↩ Undo my last change", disabled=not own, key="undo", shortcut=shortcuts.UNDO):
        catalog.undo(who=cart.who())
        st.rerun()
    undone = latest_undo(events, cart.who()) is not None
    if row.button("↪ Redo", disabled=not undone, key="redo", shortcut=shortcuts.REDO):
        catalog.redo(who=cart.who())
        st.rerun()
    if events:
        people = len({event.who for event in events})
        row.caption(f"Changes: {len(events):,} · people: {people}. Click one to undo it.")
        _show_log(events, catalog)
    else:
        row.caption("Nothing was changed yet.")
    with st.expander("Take labels elsewhere, or bring them here", key="open-files"):
        _show_files(catalog, run, said)


def _show_log(events: list[Event], catalog: Catalog) -> None:
    """The log, latest first; any change that holds can be undone, whoever made it."""
    rows = _rows(events)
    clicked = st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        height=min(38 + 35 * len(rows), 240),
        on_select="rerun",
        selection_mode="single-row",
        key=f"log-{len(events)}",
    )
    picked = [number for number in clicked.selection.rows if number < len(rows)]
    holding = {event.id for event in in_force(events)}
    if picked and int(rows[picked[0]]["change"]) in holding:
        chosen = int(rows[picked[0]]["change"])
        if st.button(f"Undo change {chosen}", key="undo-one"):
            catalog.undo(chosen, who=cart.who())
            st.rerun()


def _show_files(catalog: Catalog, run: str, said: Labels) -> None:
    left, middle = st.columns(2)
    left.download_button(
        "Names, marks, notes, selections (JSON)",
        lambda: label_files.to_json(catalog.state()),
        "labels.json",
        "application/json",
        key="export-labels",
        on_click="ignore",
    )
    middle.download_button(
        "One row per pair (Parquet)",
        lambda: label_files.to_parquet(
            cache.map_points(run).index, state.membership(run, said), said
        ),
        "labels.parquet",
        key="export-pairs",
        on_click="ignore",
    )
    given = st.file_uploader("Bring labels", ["json", "parquet"], key="bring")
    if given is None:
        return
    if given.name.endswith(".parquet"):
        content = given.getvalue()
        label_files.read_parquet(content)  # refused here, before every later rerun would be
        st.session_state["brought"] = content
        st.caption("Offered above, beside the clusters that share most pairs with each label.")
    elif st.button("Add to what is said here", key="bring-now"):
        text = given.getvalue().decode("utf-8", errors="replace")
        done = catalog.import_labels(text, who=cart.who())
        st.toast(f"{len(done)} changes.")
        st.rerun()


def _rows(events: list[Event]) -> list[dict[str, str]]:
    holding = {event.id for event in in_force(events)}
    known = {event.id: event for event in events}
    behaviors = cache.ranked_behaviors()
    return [
        {
            "change": str(event.id),
            "when": datetime.fromtimestamp(event.time).strftime("%Y-%m-%d %H:%M:%S"),
            "who": event.who,
            "what": plain_text.short(_said(event, known, behaviors), 120),
            "why": event.why,
            "": "" if event.id in holding or isinstance(event.change, Undo) else "undone",
        }
        for event in reversed(events)
    ]


def _said(event: Event, known: Mapping[int, Event], behaviors: Mapping[str, str]) -> str:
    """What a change did; `behaviors` maps rank runs to what they rank for."""
    match event.change:
        case Name(cluster=cluster, name=name):
            return f"named cluster {cluster} “{name}”" if name else f"unnamed cluster {cluster}"
        case Mark(cluster=cluster, mark=mark):
            return f"marked cluster {cluster} {mark or 'with nothing'}"
        case Note(cluster=cluster, text=text):
            return f"noted on cluster {cluster}: {text}"
        case Merge(cluster=cluster, others=others):
            return f"merged {', '.join(map(str, others))} into cluster {cluster}"
        case Assign(cluster=cluster, recipe=recipe, new=new):
            done = "made" if new else "moved into"
            return f"{done} cluster {cluster}: {describe_recipe(recipe, behaviors)}"
        case Save(name=name, recipe=recipe):
            return f"saved “{name}”: {describe_recipe(recipe, behaviors)}"
        case Forget(name=name):
            return f"forgot the saved selection “{name}”"
        case Add(edit=edit):
            return f"cart: {describe_edit(edit, behaviors)}"
        case Drop(entries=entries):
            return f"took {len(entries)} out of the cart"
        case Put(entries=entries, edits=edits):
            said = "; ".join(describe_edit(edit, behaviors) for edit in edits) or "nothing"
            return f"cart: {len(entries)} entries became {said}"
        case SaveEdit(name=name):
            return f"saved the edit “{name}”"
        case Verdict(flag=flag, shown=shown):
            said = "cannot tell" if shown is None else flag if shown else f"not {flag}"
            return f"spot-check: {said}"
        case Undo(event=undone):
            before = known[undone].change
            if isinstance(before, Undo):
                return f"made change {before.event} again"
            return f"undid change {undone}"
    raise TypeError(f"{type(event.change).__name__} is not a change")
