"""What the map is colored and filtered by: clusters, marks, columns, lengths, scores, similarities.

A coloring gives every pair of the map a category (of few) or a value; `figure` and `heatmap` draw
it. A facet gives every pair of the file one of its options; choosing some is a recipe, and each
facet counts what the other choices leave, so that map, table and heatmap follow one selection.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from core.discovery import matrix
from core.specs.behaviors import SCORE_NAMES
from core.specs.recipes import Above, AllOf, HasLength, NoneOf, Recipe, Where, combined
from core.specs.steps import RankSpec
from core.workspace.labels import Labels
from pages.components import cache, selection, text, theme
from pages.components.clusters import state

TO_PROMPTS = "similarity to prompts"
FEW = 40  # values that a column may have to be shown as categories
COLUMNS, RANKINGS = 4, 3  # facets of columns beside the source, and of rankings
BINS = 6  # of lengths and of scores
OPTIONS = 200  # of a facet
LETTERS = 60  # of an option's name
PALETTE = (*theme.CATEGORIES, theme.NOISE)
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Coloring:
    """One category per pair, an index into `names`; or one value per pair, NaN where undefined."""

    title: str
    codes: NDArray[np.int64] | None = None
    names: tuple[str, ...] = ()
    values: NDArray[np.floating] | None = None

    def palette_codes(self) -> NDArray[np.int64]:
        """(pair,) indices into `PALETTE`: colors repeat after eight; the last one is no cluster."""
        assert self.codes is not None
        noise = self.names.index(state.NOISE) if state.NOISE in self.names else -1
        grey = (self.codes < 0) | (self.codes == noise)
        return np.where(grey, len(theme.CATEGORIES), self.codes % len(theme.CATEGORIES))


@dataclass(frozen=True)
class Facet:
    """Options that each pair of the file has one of, `codes` (pair,) indices into `ids`, or −1."""

    key: str
    title: str
    ids: Sequence[str]
    labels: Sequence[str]
    codes: NDArray[np.integer]
    recipe: Callable[[list[str]], Recipe]

    def chosen(self, choices: Mapping[str, Sequence[str]]) -> list[str]:
        """The options that are chosen and that there are, in their order."""
        return [option for option in self.ids if option in choices.get(self.key, ())]


def options() -> list[str]:
    """What can be chosen to color by, the most useful first."""
    columns = cache.pairs(cache.project().pairs)
    categories = [name for name in columns.few_valued(FEW) if name != "source"]
    numbers = [name for name in columns.numeric() if name not in categories]
    return ["cluster", "source", TO_PROMPTS, *rankings(), *categories, *numbers]


def of(by: str, run: str, members: NDArray, prompts: Mask | None) -> Coloring:
    """The coloring of a discover run's pairs; `prompts` is the mask that similarity is meant to.

    `members` as in `state.membership`.
    """
    if by == "cluster":
        names = state.names(run)
        codes = pd.Index([*names, -1]).get_indexer(pd.Index(members))
        return Coloring(by, codes, (*names.values(), state.NOISE))
    if by == TO_PROMPTS:
        means = matrix.mean_by_pair(cache.store().output(run), prompts)
        return Coloring("mean similarity to the chosen prompts", values=means)
    if rank := rankings().get(by):
        scores = cache.table(rank, "ranking").set_index("uid")[cache.ranking_score(rank)]
        return Coloring(by, values=scores.reindex(cache.map_points(run).index).to_numpy(float))
    return _of_column(by, run)


def facets(run: str, labels: Labels, members: NDArray) -> list[Facet]:
    """Cluster, mark, source and other columns of few values, length, and score per behavior."""
    columns = cache.pairs(cache.project().pairs)
    others = [name for name in columns.few_valued(FEW) if name != "source"][:COLUMNS]
    several = [name for name in ("source",) if len(selection.categories(name).categories) > 1]
    scored = list(rankings().items())[:RANKINGS]
    return [
        *_of_clusters(run, labels, members),
        *(_values(name) for name in (*several, *others)),
        _lengths(),
        *(_scores(title, rank) for title, rank in scored),
    ]


def counted(
    listed: Sequence[Facet],
    choices: Mapping[str, Sequence[str]],
    parts: Mapping[str, Recipe],
    by: str,
) -> list[dict[str, Any]]:
    """What `widgets.facets` draws: each option with its pairs among those of all other `parts`."""
    masks = {key: selection.mask(part) for key, part in parts.items()}
    drawn = []
    for facet in listed:
        others = [mask for key, mask in masks.items() if key != facet.key]
        codes = facet.codes[np.logical_and.reduce(others)] if others else facet.codes
        counts = np.bincount(codes[codes >= 0], minlength=len(facet.ids))
        chosen = facet.chosen(choices)
        rows = zip(facet.ids, facet.labels, counts.tolist(), strict=True)
        drawn.append(
            {
                "key": facet.key,
                "title": facet.title,
                "options": [
                    {"id": option, "label": text.short(name, LETTERS), "n": n}
                    | {
                        "on": option in chosen,
                        "color": _color(name, code, facet.key.removeprefix("is-") == by),
                    }
                    for code, (option, name, n) in enumerate(rows)
                ][:OPTIONS],
            }
        )
    return drawn


def ordered(positions: NDArray[np.integer], by: str) -> NDArray[np.integer]:
    """Positions of pairs by a ranking's score, the highest first; as they are by anything else."""
    rank = rankings().get(by)
    if rank is None:
        return positions
    values = selection.by_pair(rank, cache.ranking_score(rank), cache.project().pairs)
    return positions[np.argsort(-values[positions], kind="stable")]


def _color(name: str, code: int, colored: bool) -> str | None:
    if not colored:
        return None
    return theme.NOISE if name == state.NOISE else theme.of_category(code)[0]


def _of_clusters(run: str, labels: Labels, members: NDArray) -> list[Facet]:
    """The clusters as they are now, and their marks if there are any."""
    names = state.names(run) | {-1: state.NOISE}
    rows = selection.map_rows(run)
    codes = np.full(len(cache.pairs(cache.project().pairs)), -1, np.int64)
    codes[rows[rows >= 0]] = pd.Index(list(names)).get_indexer(pd.Index(members))[rows >= 0]

    def recipe(chosen: list[str]) -> Recipe:
        return state.recipe(labels, [int(cluster) for cluster in chosen])

    ids, called = list(map(str, names)), list(names.values())
    clusters = Facet("cluster", "Cluster", ids, called, codes, recipe)
    marks = {cluster: mark for cluster, mark in labels.marks.items() if cluster in names}
    if not marks:
        return [clusters]
    values = sorted(set(marks.values()))
    of_cluster = [values.index(marks[cluster]) if cluster in marks else -1 for cluster in names]
    marked = np.where(codes >= 0, np.array(of_cluster)[codes], -1)

    def with_mark(chosen: list[str]) -> Recipe:
        return state.recipe(labels, [c for c, mark in marks.items() if mark in chosen])

    return [clusters, Facet("mark", "Mark", values, values, marked, with_mark)]


def _values(column: str) -> Facet:
    categories = selection.categories(column)
    names = [str(name) for name in categories.categories]
    key = column if column == "source" else f"is-{column}"
    codes = np.asarray(categories.codes)
    return Facet(
        key, theme.label(column.replace("_", " ").capitalize()), names, names, codes,
        lambda chosen: Where(column=column, values=tuple(chosen)),
    )  # fmt: skip


def _lengths() -> Facet:
    """Characters of chosen, in about equal parts."""
    edges, codes = _binned_lengths(*_pairs_now())
    ends = [int(edge) for edge in edges]
    bins = [(low, high - 1) for low, high in pairwise(ends)]
    ids = [f"{low}-{high}" for low, high in bins]

    def recipe(chosen: list[str]) -> Recipe:
        ranges = [tuple(map(int, option.split("-"))) for option in chosen]
        return combined("or", [HasLength(column="chosen", low=a, high=b) for a, b in ranges])

    labels = [f"{low:,} to {high:,}" for low, high in bins]
    return Facet("length", "Letters of chosen", ids, labels, codes, recipe)


def _scores(title: str, rank: str) -> Facet:
    """The score of a ranking in equal steps, the highest first."""
    score = cache.ranking_score(rank)
    edges, codes = _binned_scores(*_pairs_now(), rank, score)
    ids = [str(number) for number in range(len(edges) - 1)]

    def step(option: str) -> Recipe:
        number = int(option)
        low = Above(rank=rank, threshold=float(edges[number]), score=score)
        if number == len(ids) - 1:
            return low
        high = Above(rank=rank, threshold=float(edges[number + 1]), score=score)
        return AllOf(parts=(low, NoneOf(parts=(high,))))

    labels = [f"{low:+.2f} to {high:+.2f}" for low, high in pairwise(edges)]
    return Facet(
        f"score-{cache.ranked_behaviors()[rank]}", title[0].upper() + title[1:], ids[::-1],
        labels[::-1], np.where(codes >= 0, len(ids) - 1 - codes, -1),
        lambda chosen: combined("or", [step(option) for option in chosen]),
    )  # fmt: skip


def _pairs_now() -> tuple[str, str]:
    """The pairs and their version: what facets are cached by."""
    reference = cache.project().pairs
    return reference, cache.pairs_version(reference)


@st.cache_resource(show_spinner=False, max_entries=8)
def _binned_lengths(reference: str, version: str) -> tuple[NDArray, NDArray]:
    lengths = cache.pairs(reference).lengths["chosen"].to_numpy()
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, BINS + 1)).astype(int))
    edges = np.append(edges[:-1], lengths.max() + 1) if len(edges) > 1 else edges[0] + np.arange(2)
    return edges, np.digitize(lengths, edges) - 1


@st.cache_resource(show_spinner=False, max_entries=8)
def _binned_scores(reference: str, version: str, rank: str, score: str) -> tuple[NDArray, NDArray]:
    values = selection.by_pair(rank, score, reference)
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    codes = np.digitize(values, edges[1:-1])  # the highest is in the last step
    return edges, np.where(np.isfinite(values), codes, -1)


def _of_column(column: str, run: str) -> Coloring:
    pairs = cache.pairs(cache.project().pairs)
    rows = selection.map_rows(run)
    if column != "source" and column not in pairs.few_valued(FEW):
        values = pairs[column].to_numpy(float)
        return Coloring(column, values=np.where(rows >= 0, values[rows], np.nan))
    categories = selection.categories(column)
    codes = np.where(rows >= 0, categories.codes[rows], -1).astype(np.int64)
    return Coloring(column, codes, tuple(str(name) for name in categories.categories))


def rankings() -> dict[str, str]:
    """Finished rank runs by score and behavior; the newest of each."""
    return {
        f"{SCORE_NAMES[spec.method]} to {spec.behavior.name}": run
        for run, spec in reversed(cache.specs(RankSpec).items())
        if cache.store().state(run) == "finished"
    }
