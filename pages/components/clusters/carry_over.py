"""What was said on earlier maps, and in files, offered to the clusters of this one.

After another clustering the numbers mean nothing; names, marks and notes stay with the pairs. Each
is shown beside the cluster that shares most pairs with it; one that has vanished can be made a
cluster here. Nothing is taken over unasked.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from core.discovery import matching
from core.specs.events import Marking
from core.specs.recipes import Recipe, Where
from core.specs.steps import is_run
from core.workspace import label_files
from core.workspace.catalog import Catalog
from core.workspace.labels import Labels, Remark
from pages.components import cache, cart, selection, text
from pages.components.clusters import state

TAKE = "take over"


class Earlier(NamedTuple):
    """Something that was said of some pairs."""

    where: str
    name: str | None
    mark: Marking | None
    notes: tuple[Remark, ...]
    recipe: Recipe | None  # None: the map that it was said on is gone


def show(run: str, said: Labels, catalog: Catalog) -> None:
    """Offers, where anything was said elsewhere that is not said here."""
    offers = _not_said([*_of_other_maps(run, catalog), *_of_files()], said)
    if not offers:
        return
    with st.expander(f"Said on earlier maps or in files: {len(offers)}", expanded=True):
        st.caption("Each beside the cluster that shares most pairs with it. Nothing is lost.")
        table = _matched(run, said, offers)
        st.dataframe(
            table[["where", "said", "pairs", "now", "shared"]],
            hide_index=True,
            key="earlier",
            column_config={"shared": st.column_config.NumberColumn(format="%.0f %%")},
        )
        _take(run, offers, table, catalog)


def _not_said(offers: list[Earlier], said: Labels) -> list[Earlier]:
    """Those of the offers that are not said here already."""
    known = {(said.names.get(c), said.marks.get(c)) for c in {*said.names, *said.marks}}
    written = {note.text for notes in said.notes.values() for note in notes}

    def is_here(one: Earlier) -> bool:
        if one.name or one.mark:
            return (one.name, one.mark) in known
        if one.notes:
            return written.issuperset(note.carried() for note in one.notes)
        return one.recipe in said.recipes.values()

    return [one for one in offers if not is_here(one)]


def _take(run: str, offers: list[Earlier], table: pd.DataFrame, catalog: Catalog) -> None:
    names = state.names(run)
    left, middle, right = st.columns([4, 4, 2], vertical_alignment="bottom")
    chosen = left.selectbox(
        "What was said",
        range(len(offers)),
        format_func=list(table["said"]).__getitem__,
        key="offer",
    )
    offer, match = offers[chosen], int(table["cluster"].iloc[chosen])
    speaks = offer.name or offer.mark or offer.notes
    targets: list[int | None] = [*(names if speaks else ()), *([None] if offer.recipe else ())]
    target = middle.selectbox(
        "Say it of",
        targets,
        index=targets.index(match) if match in targets else len(targets) - 1,
        format_func=lambda one: (
            "a new cluster of the same pairs" if one is None else text.short(names[one], 60)
        ),
        key=f"offer-to-{run}-{offer.where}",
    )
    if right.button("Take over", key=TAKE, width="stretch", disabled=not targets):
        why = f"as said {offer.where}"
        if target is None and offer.recipe is not None:
            made = catalog.assign(run, None, offer.recipe, who=cart.who(), why=why)
            target = made.change.cluster
        said = {"name": offer.name, "mark": offer.mark, "notes": offer.notes}
        catalog.adopt(run, target, **said, who=cart.who(), why=why)
        st.rerun()


def _matched(run: str, said: Labels, offers: list[Earlier]) -> pd.DataFrame:
    """The offers, each with its best match among the clusters as they are now."""
    names = state.names(run)
    now = state.membership(run, said)
    masks = {
        number: selection.on_map(run, one.recipe) if one.recipe else np.zeros(len(now), bool)
        for number, one in enumerate(offers)
    }
    found = matching.best(masks, now)
    return found.assign(
        where=[one.where for one in offers],
        said=[text.short(_said(one), 80) for one in offers],
        now=[
            text.short(names[c], 60) if c in names else "vanished: in no cluster here"
            for c in found["cluster"]
        ],
        shared=100 * found["jaccard"],
    )


def _of_other_maps(run: str, catalog: Catalog) -> list[Earlier]:
    store = cache.store()
    found = []
    for other, labels in catalog.state().labels.items():
        there = is_run(other) and store.state(other) == "finished"
        if other == run:
            continue
        found += [
            Earlier(
                where=f"on {other}, cluster {cluster}",
                name=labels.names.get(cluster),
                mark=labels.marks.get(cluster),
                notes=labels.notes.get(cluster, ()),
                recipe=labels.recipe(cluster) if there else None,
            )
            for cluster in labels.touched()
            if cluster >= 0
        ]
    return [one for one in found if one.name or one.mark or one.notes or one.recipe]


def _of_files() -> list[Earlier]:
    """Of the Parquet file that was last brought in this session."""
    content = st.session_state.get("brought")
    if not content:
        return []
    return [
        Earlier(
            where=f"in a file, cluster {group.cluster}",
            name=group.name,
            mark=group.mark,
            notes=(),
            recipe=Where(column="uid", values=tuple(group.uids)),
        )
        for group in label_files.read_parquet(content)
    ]


def _said(one: Earlier) -> str:
    parts = [f"“{one.name}”" if one.name else "", one.mark or ""]
    parts += [f"notes: {len(one.notes)}"] if one.notes else []
    return ", ".join(part for part in parts if part) or "merged or moved by hand, without a name"
