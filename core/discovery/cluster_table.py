"""The table of clusters: words, a suggested name, examples, sources and statistics.

Words are weighted by c-TF-IDF: a word counts for a cluster by its share of the cluster's words,
times log(1 + A / f), f being how often all clusters use it and A the mean number of words in a
cluster (Grootendorst, arXiv 2203.05794, eq. 1). For the chosen side the word's share of the
rejected side is subtracted first, and the other way round, so that words of both sides drop out. A
suggested name is a heuristic from these words: it describes, it does not judge.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer

from core.data.pair_table import PairColumns
from core.discovery.cluster_stats import means_by_prompt, score_statistics
from core.discovery.clustering import medoids
from core.discovery.matrix import Doubles, Matrix
from core.discovery.pipeline import Discovery
from core.discovery.projection import balanced_sample
from core.runs.workers import Call

MOST_READ = 30_000  # pairs whose words are counted, a balanced sample of the clusters
EXAMPLES = 3  # of a cluster's boundary
TERMS = 6  # words listed per cluster and side
MAX_WORDS = 20_000  # most frequent words that are counted
NEGATIONS = {"cannot", "cant", "never", "no", "nor", "not", "nothing"}  # distinguish refusals
STOP_WORDS = sorted(ENGLISH_STOP_WORDS - NEGATIONS)
WORD = r"(?u)\b\w[\w']{1,39}\b"  # longer runs of letters are no words, and break every table
COLUMNS = [
    *("cluster", "size", "share", "words_chosen", "words_rejected", "words_prompt"),
    *("top_source", "top_source_share", "suggested_name"),
]


def cluster_table(
    matrix: Matrix, discovery: Discovery, pairs: PairColumns, call: Call
) -> pd.DataFrame:
    """clusters.parquet; of `pairs` the texts of `MOST_READ` are read, not those of all."""
    labels, uids = discovery.labels(matrix), matrix.uids[matrix.pair_defined]
    sampled = balanced_sample(labels, MOST_READ, 0)
    texts = pairs.rows(pairs.positions(uids[sampled]))
    columns = ["prompt", "chosen", "rejected", "source"]
    table = call("words of the clusters", word_table, texts[columns], labels[sampled])
    table = table.set_index("cluster")
    table["size"] = pd.Series(labels).value_counts().reindex(table.index)
    table["share"] = table["size"] / len(labels)
    central = medoids(discovery.features.points, labels)
    table["medoid_uid"] = pd.Series(uids[central.to_numpy()], index=central.index, dtype=object)
    table["boundary_uids"] = boundary(discovery.pairs[matrix.pair_defined]).reindex(table.index)
    means = means_by_prompt(matrix, labels, table.index.tolist())
    groups = pd.DataFrame([top_group(matrix, row) for row in means], table.index)
    statistics = score_statistics(matrix, labels, discovery.prompt_clusters).set_index("cluster")
    return table.join(groups).join(statistics).reset_index()


def boundary(pairs: pd.DataFrame) -> pd.Series:
    """The uids of each cluster's weakest members, comma-separated."""
    weakest = pairs[pairs["cluster"] >= 0].sort_values("strength", kind="stable")
    return weakest.groupby("cluster")["uid"].apply(lambda uids: ",".join(uids.head(EXAMPLES)))


def top_group(matrix: Matrix, means: Doubles) -> dict[str, Any]:
    """Mean of (defined prompt,) over all, and for the group of prompts where it is largest."""
    rows = matrix.prompts[matrix.prompt_defined]
    mean = pd.Series(means, index=rows.index)
    groups = mean.groupby([rows["group"], rows["condition"]]).mean().reset_index(name="mean")
    top = groups.iloc[groups["mean"].argmax()]
    return {
        "mean_similarity": float(mean.mean()),
        "top_group": str(top["group"]),
        "top_condition": str(top["condition"]),
        "top_group_similarity": float(top["mean"]),
    }


def word_table(pairs: pd.DataFrame, labels: NDArray[np.int64]) -> pd.DataFrame:
    """One row per cluster, `COLUMNS`, largest first and noise (−1) last.

    `pairs` has `prompt, chosen, rejected, source`; `labels` gives the cluster of each row.
    """
    clusters, groups = np.unique(labels, return_inverse=True)
    if not len(clusters):
        return pd.DataFrame(columns=COLUMNS)
    sizes = np.bincount(groups)
    table = pd.DataFrame({"cluster": clusters, "size": sizes, "share": sizes / len(labels)})
    for side, words in side_words(pairs, groups, len(clusters)).items():
        table[f"words_{side}"] = words
    sources = [top_source(pairs["source"][labels == cluster]) for cluster in clusters]
    table["top_source"], table["top_source_share"] = zip(*sources, strict=True)
    table["suggested_name"] = [suggest_name(row) for _, row in table.iterrows()]
    order = np.argsort(np.where(clusters < 0, np.inf, clusters), kind="stable")
    return table.iloc[order][COLUMNS].reset_index(drop=True)


def side_words(
    pairs: pd.DataFrame, groups: NDArray[np.int64], n_groups: int
) -> dict[str, list[str]]:
    """The distinctive words of each group's chosen, rejected and prompts, comma-separated."""
    counter = CountVectorizer(token_pattern=WORD, max_features=MAX_WORDS, stop_words=STOP_WORDS)
    sides = ("chosen", "rejected", "prompt")
    try:
        counter.fit(text for side in sides for text in pairs[side])
    except ValueError:  # no text has a word
        return {side: [""] * n_groups for side in sides}
    counts = {side: _group_counts(counter.transform(pairs[side]), groups) for side in sides}
    words = counter.get_feature_names_out()
    completions = _idf(counts["chosen"] + counts["rejected"])
    chosen, rejected = _share(counts["chosen"]), _share(counts["rejected"])
    weights = {
        "chosen": (chosen - rejected) * completions,
        "rejected": (rejected - chosen) * completions,
        "prompt": _share(counts["prompt"]) * _idf(counts["prompt"]),
    }
    return {side: [_top(row, words) for row in weight] for side, weight in weights.items()}


def top_source(sources: pd.Series) -> tuple[str, float]:
    """The most frequent source and its share of the pairs."""
    shares = sources.astype(str).value_counts(normalize=True)
    return str(shares.index[0]), float(shares.iloc[0])


def suggest_name(row: Any) -> str:
    """Such as `brilliant, love, not: sorry, cannot (village, bake)`, from the row's words."""
    if row["cluster"] < 0:
        return "noise"
    chosen, rejected, prompt = (
        ", ".join(row[f"words_{side}"].split(", ")[:2]) for side in ("chosen", "rejected", "prompt")
    )
    name = chosen or "no word more"
    name += f", not: {rejected}" if rejected else ""
    return name + (f" ({prompt})" if prompt else "")


def _group_counts(counts: csr_matrix, groups: NDArray[np.int64]) -> Doubles:
    """Sum of the word counts of each group's rows, (group, word)."""
    n_rows = len(groups)
    member = csr_matrix((np.ones(n_rows), (groups, np.arange(n_rows))))
    return np.asarray((member @ counts).todense(), np.float64)


def _share(counts: Doubles) -> Doubles:
    """Each word's share of its group's words; a group without words has none."""
    totals = counts.sum(axis=1, keepdims=True)
    return counts / np.maximum(totals, 1)


def _idf(counts: Doubles) -> Doubles:
    """log(1 + A / f), (word,)."""
    return np.log1p(counts.sum() / len(counts) / np.maximum(counts.sum(axis=0), 1))


def _top(weights: Doubles, words: Sequence[str]) -> str:
    best = np.argsort(-weights, kind="stable")[:TERMS]
    return ", ".join(words[i] for i in best if weights[i] > 0)
