"""Clusters as they are now: named, merged, split and marked by people, on top of a discover run.

Names are also suggested, from words of their pairs, and from a language model if one was asked.
Lists show them in (parentheses) until somebody accepts one; accepting is a rename like any other,
listed in the history and undone there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from core.errors import UserError
from core.runs import commands
from core.specs.recipes import AnyOf, Recipe
from core.specs.steps import SuggestSpec
from core.workspace.catalog import Catalog
from core.workspace.labels import Labels
from pages.components import cache, cart, jobs, selection, text

NOISE = "no cluster"
LONGEST = 80  # characters of a name, as in the field beside it


def labels(run: str) -> Labels:
    """Names, marks, notes and changes of a discover run's clusters."""
    return cart.catalog().state().of(run)


def explain_few(run: str) -> None:
    """Say what it means that a map has no cluster, or just one; nothing where there are more."""
    n = int((cache.table(run, "clusters")["cluster"] >= 0).sum())
    if n == 0:
        st.warning(
            "Discovery found no cluster on this map: no group of pairs is similar enough to stand "
            "apart. This happens with few pairs, or where no pair scores on any prompt that "
            "changed. Ranking, searching and drawing on the map work without clusters."
        )
    if n == 1:
        st.info(
            "Discovery found a single cluster: all pairs that score on any prompt are similar. "
            "There is nothing to compare them with but the other pairs; look inside by source or "
            "words."
        )


def name(cluster: int, labels: Labels, suggested: Mapping[int, str]) -> str:
    """The name that somebody gave, else the suggested one in (parentheses)."""
    if cluster == -1:
        return NOISE
    if cluster in labels.names:
        return f"{cluster} · {labels.names[cluster]}"
    return f"{cluster} · ({suggested[cluster]})" if cluster in suggested else f"{cluster}"


def names(run: str) -> dict[int, str]:
    """Every cluster that still exists, with its name, in order of size."""
    clusters, changed = cache.table(run, "clusters"), labels(run)
    typical = dict(zip(clusters["cluster"], clusters["suggested_name"], strict=True))
    by_model = _named(run)
    suggested = {cluster: by_model.get(cluster, words) for cluster, words in typical.items()}
    numbers = [*clusters.sort_values("size", ascending=False)["cluster"], *changed.recipes]
    return {
        cluster: name(cluster, changed, suggested)
        for cluster in map(int, dict.fromkeys(numbers))
        if cluster != -1 and changed.exists(cluster)
    }


def plain_names(run: str) -> dict[int, str]:
    """Names without numbers and parentheses, for the map; the number of a cluster without one."""
    plain = {c: name.partition(" · ")[2].removeprefix("(") for c, name in names(run).items()}
    return {c: name.removesuffix(")") or f"{c}" for c, name in plain.items()}


def recipe(labels: Labels, clusters: Sequence[int]) -> Recipe:
    """The pairs of any of these clusters, merges, splits and moved pairs included."""
    parts = tuple(labels.recipe(cluster) for cluster in clusters)
    return parts[0] if len(parts) == 1 else AnyOf(parts=parts)


def membership(run: str, labels: Labels) -> NDArray[np.int64]:
    """(pair,) the cluster of every pair on the map as it is now; −1: none."""
    members = cache.map_points(run)["cluster"].to_numpy(np.int64, copy=True)
    for cluster in (-1, *names(run)):
        if labels.composed(cluster):
            members[selection.on_map(run, labels.recipe(cluster))] = cluster
    return members


def hdbscan_sizes(run: str, inside: NDArray[np.bool_]) -> pd.Series:
    """Sizes of the HDBSCAN clusters (column `island`) that the pairs `inside` (pair,) are in.

    Empty where they are all in one, and for maps of earlier versions.
    """
    points = cache.map_points(run)
    if "island" not in points:
        return pd.Series(dtype=int)
    sizes = points.loc[inside & (points["island"] >= 0).to_numpy(), "island"].value_counts()
    return sizes if len(sizes) > 1 else sizes.head(0)


@dataclass(frozen=True)
class Suggestion:
    """A name for a cluster, one sentence if there is one, and where they come from."""

    name: str
    description: str
    source: str


def suggest_runs(run: str) -> list[str]:
    """Finished suggest runs on a map, newest first."""
    return [
        suggest
        for suggest, spec in cache.specs(SuggestSpec).items()
        if spec.discover == run and cache.store().state(suggest) == "finished"
    ]


def suggestions(run: str, cluster: int) -> list[Suggestion]:
    """The suggestions for a cluster of a discover run, a language model's first."""
    by_model = [
        Suggestion(str(row.name), str(row.description), f"language model {row.model}")
        for suggest in suggest_runs(run)
        for row in cache.table(suggest, "suggestions").itertuples(index=False)
        if row.cluster == cluster
    ]
    typical = cache.table(run, "clusters").set_index("cluster")["suggested_name"]
    words = [str(typical[cluster])] if cluster in typical else []
    return by_model + [Suggestion(name, "", "words of its pairs") for name in words]


def _named(run: str) -> dict[int, str]:
    """The name that the newest finished suggest run has for each cluster."""
    for suggest in suggest_runs(run)[:1]:
        table = cache.table(suggest, "suggestions")
        return {int(row.cluster): str(row.name) for row in table.itertuples(index=False)}
    return {}


def show_suggestions(run: str, cluster: int, catalog: Catalog) -> None:
    """Each suggestion with a button that makes it the name."""
    for number, suggestion in enumerate(suggestions(run, cluster)):
        left, right = st.columns([4, 1], vertical_alignment="center")
        name, source = text.short(suggestion.name, LONGEST), text.short(suggestion.source, 60)
        description = text.short(suggestion.description, 300)
        left.text(f"Suggestion ({source}): “{name}”. {description}".strip())
        right.button(
            "Accept",
            key=f"accept-{cluster}-{number}",
            on_click=_accept,
            args=(run, cluster, suggestion, catalog),
            width="stretch",
            help="Make this the cluster's name. The history below can undo it.",
        )


def ask_for_names(run: str, *, drawn: list[str]) -> None:
    """A form for asking a language model, and its progress.

    `drawn` are the suggest runs whose names the page above shows; it is drawn again once another
    one has finished.
    """
    st.caption(
        "Typical words and five pairs of each cluster are sent to an OpenAI-compatible endpoint: "
        "the one of `$PAIRTRACE_ENDPOINT_URL`, unless another is given. Nothing is sent before you "
        "start it; the answers stay suggestions."
    )
    model, url = st.columns(2)
    llm = model.text_input("Model", key="suggest-model", help="The endpoint's name for it.")
    address = url.text_input("Endpoint", key="suggest-url", placeholder="https://…/v1")
    if not llm.strip():
        return
    try:
        values = {"discover": run, "llm": llm.strip(), "url": address.strip()}
        spec = commands.build(SuggestSpec, values, {})
    except UserError as error:
        text.refuse(error)
        return
    suggest = jobs.panel(spec, "Ask for names")
    if suggest and suggest not in drawn:
        st.rerun()
    if suggest:
        st.text(f"Clusters with a suggestion by it: {cache.summary(suggest)['n_named']:,}.")


def _accept(run: str, cluster: int, suggestion: Suggestion, catalog: Catalog) -> None:
    why = f"suggested by {suggestion.source}"
    catalog.rename(run, cluster, suggestion.name[:LONGEST], who=cart.who(), why=why)
