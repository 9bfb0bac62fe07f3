"""Labels of earlier maps and of files, offered to the clusters of this map.

Cluster numbers mean nothing after another clustering; names, marks and notes belong to pairs. Each
is shown beside the cluster that shares most pairs with it; one that has vanished can be made a
cluster here. Nothing is carried over unasked.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from core.discovery.stability import best_matches
from core.specs.events import Marking
from core.specs.recipes import Recipe, Where
from core.workspace import label_files
from core.workspace.catalog import Catalog
from core.workspace.labels import Labels, Remark
from pages.components import cache, cart, selection, text, theme
from pages.components.clusters import state


class Offer(NamedTuple):
    """What people called, marked or noted on some pairs elsewhere."""

    where: str
    name: str | None
    mark: Marking | None
    notes: tuple[Remark, ...]
    recipe: Recipe | None  # None: the map that it was present on is gone

    def words(self) -> str:
        """Name, mark and number of notes, as text."""
        parts = [f"“{self.name}”"] * bool(self.name) + [self.mark] * bool(self.mark)
        parts += [f"notes: {len(self.notes)}"] * bool(self.notes)
        return ", ".join(map(str, parts)) or "merged or moved by hand, without a name"


def show(run: str, labels: Labels, catalog: Catalog) -> None:
    """Labels from elsewhere that this map lacks, if there are any."""
    offers = _missing([*_of_other_maps(run, catalog), *_of_file()], labels)
    if not offers:
        return
    with st.expander(f"Labels of earlier maps and files: {len(offers)}", expanded=True):
        st.caption("Each beside the cluster that shares most pairs with it. Nothing is lost.")
        table = _matched(run, labels, offers)
        st.dataframe(
            table[["where", "label", "pairs", "now", "shared"]],
            hide_index=True,
            key="earlier",
            column_config=theme.columns({}, {"shared": "%.0f %%"}),
        )
        _show_choice(run, offers, table, catalog)


def _missing(offers: list[Offer], labels: Labels) -> list[Offer]:
    """The offers that the map does not have already."""
    present = {(labels.names.get(c), labels.marks.get(c)) for c in {*labels.names, *labels.marks}}
    notes = {note.text for remarks in labels.notes.values() for note in remarks}

    def on_map(offer: Offer) -> bool:
        if offer.name or offer.mark:
            return (offer.name, offer.mark) in present
        if offer.notes:
            return notes.issuperset(note.carried() for note in offer.notes)
        return offer.recipe in labels.recipes.values()

    return [offer for offer in offers if not on_map(offer)]


def _show_choice(run: str, offers: list[Offer], table: pd.DataFrame, catalog: Catalog) -> None:
    names = state.names(run)
    left, middle, right = st.columns([4, 4, 2], vertical_alignment="bottom")
    number = left.selectbox(
        "Label", range(len(offers)), format_func=list(table["label"]).__getitem__, key="offer"
    )
    offer, match = offers[number], int(table["cluster"].iloc[number])
    labelled = offer.name or offer.mark or offer.notes
    targets: list[int | None] = [*(names if labelled else ()), *([None] if offer.recipe else ())]
    target = middle.selectbox(
        "Cluster to label",
        targets,
        index=targets.index(match) if match in targets else len(targets) - 1,
        format_func=lambda cluster: (
            "a new cluster of the same pairs" if cluster is None else text.short(names[cluster], 60)
        ),
        key=f"offer-to-{run}-{offer.where}",
    )
    if right.button("Carry over", key="carry-over", width="stretch", disabled=not targets):
        why = f"from {offer.where}"
        if target is None and offer.recipe is not None:
            made = catalog.assign(run, None, offer.recipe, who=cart.who(), why=why)
            target = made.change.cluster
        label = {"name": offer.name, "mark": offer.mark, "notes": offer.notes}
        catalog.adopt(run, target, **label, who=cart.who(), why=why)
        st.rerun()


def _matched(run: str, labels: Labels, offers: list[Offer]) -> pd.DataFrame:
    """The offers, each with its best match among the clusters as they are now."""
    names, members = state.names(run), state.membership(run, labels)
    masks = {
        number: selection.on_map(run, offer.recipe)
        if offer.recipe
        else np.zeros_like(members, bool)
        for number, offer in enumerate(offers)
    }
    matches = best_matches(masks, members)
    return matches.assign(
        where=[offer.where for offer in offers],
        label=[text.short(offer.words(), 80) for offer in offers],
        now=[
            text.short(names[c], 60) if c in names else "vanished: in no cluster here"
            for c in matches["cluster"]
        ],
        shared=100 * matches["jaccard"],
    )


def _of_other_maps(run: str, catalog: Catalog) -> list[Offer]:
    finished = set(cache.store().finished("discover"))
    offers = [
        Offer(
            f"{other}, cluster {cluster}",
            labels.names.get(cluster),
            labels.marks.get(cluster),
            labels.notes.get(cluster, ()),
            labels.recipe(cluster) if other in finished else None,
        )
        for other, labels in catalog.state().labels.items()
        for cluster in labels.touched()
        if other != run and cluster >= 0
    ]
    return [offer for offer in offers if any(offer[1:])]


def _of_file() -> list[Offer]:
    """Labels in the Parquet file that was last uploaded in this session."""
    content = st.session_state.get("brought")
    groups = label_files.read_parquet(content) if content else ()
    return [
        Offer(
            f"a file, cluster {group.cluster}",
            group.name,
            group.mark,
            (),
            Where(column="uid", values=tuple(group.uids)),
        )
        for group in groups
    ]
