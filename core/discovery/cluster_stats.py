"""How big a cluster of pairs is, how far it pushes its prompts, and whether that would hold.

A cluster's prompts are the kind that its pairs push furthest. The unit of an interval is the
prompt: pairs that push five prompts push five prompts, however many pairs there are. Split halves
ask the same of single pairs: does half of the prompts agree with the other half that a pair
pushes? Knows nothing of words, judges or the truth.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.discovery.matrix import Matrix
from core.discovery.prompt_clusters import Kinds
from core.stats import bootstrap, chance_of_at_least, q_values, share_interval

SPLITS = 20
DRAWS = 2000
SEED = 0
MOST = 20_000  # members whose halves are compared; larger clusters are sampled

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Flags = NDArray[np.bool_]


def push_statistics(matrix: Matrix, labels: Labels, kinds: Kinds) -> pd.DataFrame:
    """One row per cluster, noise last: its prompts and how far it pushes them.

    `labels` (defined pair,), −1 being none. Columns: `cluster, prompt_cluster, n_prompts, push,
    push_low, push_high, effect_size, push_share, sign_agreement`. `push` is the mean entry,
    [−1, 1], with a 95% bootstrap over prompts; `effect_size` the distance from all other pairs'
    mean in standard deviations of those; `push_share` the part of all positive push on these
    prompts that the cluster's pairs make up.
    """
    clusters = sorted(set(labels.tolist()), key=lambda c: (c < 0, c))
    by_prompt = cluster_push(matrix, labels, clusters)
    rows = []
    for means, cluster in zip(by_prompt, clusters, strict=True):
        members = labels == cluster
        kind = _hardest(kinds, members)
        own = (kinds.labels == kind) & (kind >= 0)
        rows.append(
            {"cluster": cluster, "prompt_cluster": kind, "n_prompts": int(own.sum())}
            | _interval(means[own])
            | _effect(kinds.push[max(kind, 0)] if len(kinds.push) else np.empty(0), members)
            | {"sign_agreement": _agreement(matrix, members, own)}
        )
    return pd.DataFrame(rows)


def cluster_push(matrix: Matrix, labels: Labels, clusters: list[int]) -> Floats:
    """Mean entry of each cluster's pairs by prompt, (cluster, prompt), of the defined ones."""
    member = np.array([labels == cluster for cluster in clusters])
    total = np.zeros((len(clusters), int(matrix.prompt_defined.sum())))
    for place, part in matrix.blocks():
        total += member[:, place].astype(np.float32) @ part.T
    return total / np.maximum(member.sum(axis=1, keepdims=True), 1)


def sources(labels: Labels, source: pd.Series) -> pd.DataFrame:
    """How much more of each source a cluster holds than the data does.

    `cluster, source, size, share, share_of_data, enrichment, enrichment_low, enrichment_high, p,
    q`: enrichment is the ratio of the two shares, with an exact 95% interval of the first; 1 is as
    everywhere. `p` is the chance of so many or more if the cluster's pairs were drawn at random,
    `q` corrects it over every cluster and source (core.attribution.enrichment).
    """
    table = pd.DataFrame({"cluster": labels, "source": source.astype(str).to_numpy()})
    totals = table["source"].value_counts()
    grid = pd.crosstab(table["cluster"], table["source"])
    counts = grid.melt(ignore_index=False, value_name="size").reset_index()
    whole = counts.groupby("cluster")["size"].transform("sum")
    marked, n = counts["source"].map(totals), len(table)
    counts["share"] = counts["size"] / whole
    counts["share_of_data"] = marked / n
    counts["enrichment"] = counts["share"] / counts["share_of_data"]
    low, high = share_interval(counts["size"], whole)
    counts["enrichment_low"] = low / counts["share_of_data"]
    counts["enrichment_high"] = high / counts["share_of_data"]
    counts["p"] = chance_of_at_least(counts["size"], whole, marked, n)
    counts["q"] = q_values(counts["p"])  # sources that a cluster lacks count too
    counts = counts[counts["size"] > 0]
    return counts.sort_values(["cluster", "size"], ascending=[True, False], ignore_index=True)


def _hardest(kinds: Kinds, members: Flags) -> int:
    """The kind of prompts that these pairs move furthest; −1 where there are no kinds."""
    if not len(kinds.push) or not members.any():
        return -1
    return int((kinds.push[:, members].mean(axis=1) * kinds.strength).argmax())


def _interval(means: Floats) -> dict[str, float]:
    """Mean over prompts with a percentile bootstrap."""
    push, low, high, _ = bootstrap(
        lambda times: times @ means / len(means), len(means), seed=SEED, draws=DRAWS
    )
    return {"push": push, "push_low": low, "push_high": high}


def _effect(pushes: NDArray[np.floating], members: Flags) -> dict[str, float]:
    """Distance from the other pairs, and the share of all positive push."""
    if len(pushes) != len(members) or members.all() or not members.any():
        return {"effect_size": float("nan"), "push_share": float("nan")}
    others = pushes[~members]
    spread = others.std()
    distance = (pushes[members].mean() - others.mean()) / spread if spread > 0 else float("nan")
    positive = np.maximum(pushes, 0)
    total = positive.sum()
    share = positive[members].sum() / total if total > 0 else float("nan")
    return {"effect_size": float(distance), "push_share": float(share)}


def _agreement(matrix: Matrix, members: Flags, prompts: Flags) -> float:
    """Share of pairs that both random halves of the prompts say push, over `SPLITS` splits."""
    n = int(prompts.sum())
    if n < 2 or not members.any():
        return float("nan")
    random = np.random.default_rng(SEED)
    chosen = np.flatnonzero(members)
    chosen = random.choice(chosen, min(len(chosen), MOST), replace=False)
    mask = np.zeros(len(members), bool)
    mask[chosen] = True
    entries = matrix.columns(mask)[prompts]  # (prompt, member)
    half = np.array([random.permutation(n) < n // 2 for _ in range(SPLITS)])
    first, second = half.astype(np.float32) @ entries, (~half).astype(np.float32) @ entries
    return float(((first > 0) & (second > 0)).mean())
