"""Clusters as they are now: named, merged, split and marked by people, on top of a discover run."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from core.specs.recipes import AnyOf, Recipe
from core.workspace.labels import Labels
from pages.components import cache, cart, selection
from pages.components.clusters import suggestions

NOISE = "no cluster"


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
    by_model = suggestions.named(run)
    suggested = {cluster: by_model.get(cluster, words) for cluster, words in typical.items()}
    numbers = [*clusters.sort_values("size", ascending=False)["cluster"], *changed.recipes]
    return {
        cluster: name(cluster, changed, suggested)
        for cluster in map(int, dict.fromkeys(numbers))
        if cluster != -1 and changed.exists(cluster)
    }


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
