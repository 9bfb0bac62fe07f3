"""Clusters as people left them: named, merged, split and marked, on top of what was found."""

from collections.abc import Mapping, Sequence

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from core.specs.recipes import AnyOf, Recipe
from core.workspace.labels import Labels
from pages.components import cache, cart, selection
from pages.components.clusters import suggestions

NOISE = "no cluster"


def labels(run: str) -> Labels:
    """What was said about the clusters of a discover run."""
    return cart.catalog().state().of(run)


def explain_few(run: str) -> None:
    """Say what it means that no cluster was found, or one only; nothing where there are more."""
    n = int((cache.table(run, "clusters")["cluster"] >= 0).sum())
    if n == 0:
        st.warning(
            "Discovery found no cluster on this map: no group of pairs acts alike so clearly that "
            "it stands apart. Few pairs, or pairs that push nothing that changed, end so. Ranking, "
            "searching and drawing on the map work without clusters."
        )
    if n == 1:
        st.info(
            "Discovery found a single cluster: all pairs that push anything push alike. There is "
            "nothing to tell apart but these pairs from the rest; look inside by source or words."
        )


def name(cluster: int, said: Labels, suggested: Mapping[int, str]) -> str:
    """The name that somebody gave, else the suggested one, marked as such."""
    if cluster == -1:
        return NOISE
    if cluster in said.names:
        return f"{cluster} · {said.names[cluster]}"
    return f"{cluster} · ({suggested[cluster]})" if cluster in suggested else f"{cluster}"


def names(run: str) -> dict[int, str]:
    """Every cluster that is still there, with its name, in order of size."""
    found, said = cache.table(run, "clusters"), labels(run)
    words = dict(zip(found["cluster"], found["suggested_name"], strict=True))
    asked = suggestions.named(run)
    suggested = {cluster: asked.get(cluster, word) for cluster, word in words.items()}
    known = [*found.sort_values("size", ascending=False)["cluster"], *said.recipes]
    there = [int(one) for one in dict.fromkeys(known) if one != -1 and said.exists(int(one))]
    return {one: name(one, said, suggested) for one in there}


def recipe(said: Labels, clusters: Sequence[int]) -> Recipe:
    """The pairs of any of these clusters, merges, splits and moved pairs included."""
    parts = tuple(said.recipe(cluster) for cluster in clusters)
    return parts[0] if len(parts) == 1 else AnyOf(parts=parts)


def membership(run: str, said: Labels) -> NDArray[np.int64]:
    """(place,) the cluster of every pair on the map as it is now; −1 where there is none."""
    now = cache.map_points(run)["cluster"].to_numpy(np.int64, copy=True)
    for cluster in (-1, *names(run)):
        if said.composed(cluster):
            now[selection.on_map(run, said.recipe(cluster))] = cluster
    return now
