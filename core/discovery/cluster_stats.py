"""Statistics of clusters of pairs: scores, sources, and shares of each behavior's attribution.

A cluster's prompts are the prompt cluster on which its pairs score highest. The unit of an interval
is the prompt: pairs that act on five prompts are measured on five prompts, however many pairs there
are. Sign agreement asks the same of single pairs: how often two random halves of the prompts agree
that a pair's mean similarity is positive.

A behavior is a flag of the judge on one group of prompts under one condition; its vector is made as
in a ranking, from the prompts that show it. Behaviors that no prompt shows have no attribution. The
share of each pair is saved, so that clusters of a later cut have their shares too. Knows nothing of
words or the truth.
"""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from core.attribution.index.layout import VectorIndex
from core.attribution.similarity import Query, scan
from core.attribution.vectors import Activations, behavior_vectors, passing_prompts, query_at
from core.discovery.matrix import Doubles, Flags, Floats, Matrix
from core.discovery.prompt_clusters import Labels, PromptClusters
from core.errors import UserError
from core.specs.behaviors import DEFAULT_SCORE, Behavior
from core.stats import bootstrap, chance_of_at_least, q_values, share_interval
from core.storage.tables import array, data_frame

SPLITS = 20
DRAWS = 2000
SEED = 0
MOST = 20_000  # members whose halves are compared; larger clusters are sampled
BEHAVIOR = ["flag", "group", "condition", "n_prompts"]
SHARES = ["cluster", *BEHAVIOR, "share_of_attribution"]
ATTRIBUTION = "attribution.npy"  # of a discover run: (behavior, pair), rows as in its table
AT_ONCE = 8  # behaviors scored in one pass over the index: their scores are in memory


def score_statistics(matrix: Matrix, labels: Labels, prompts: PromptClusters) -> pd.DataFrame:
    """One row per cluster, noise last: its prompts and its pairs' scores on them.

    `labels` (defined pair,), −1 being none. Columns: `cluster, prompt_cluster, n_prompts, push,
    push_low, push_high, effect_size, push_share, swapped_share, sign_agreement`. `push` is the mean
    entry of the matrix, [−1, 1], with a 95% bootstrap over prompts; `effect_size` the distance from
    all other pairs' mean in standard deviations of those; `push_share` the cluster's part of all
    positive scores on these prompts, `swapped_share` the part that as many pairs would have if the
    labels of all pairs were swapped.
    """
    clusters = sorted(set(labels.tolist()), key=lambda c: (c < 0, c))
    rows = []
    for means, cluster in zip(means_by_prompt(matrix, labels, clusters), clusters, strict=True):
        members = labels == cluster
        strongest = _strongest(prompts, members)
        mask = (prompts.labels == strongest) & (strongest >= 0)
        rows.append(
            {"cluster": cluster, "prompt_cluster": strongest, "n_prompts": int(mask.sum())}
            | _interval(means[mask])
            | _effect(prompts.scores[strongest] if strongest >= 0 else None, members)
            | {"sign_agreement": _sign_agreement(matrix, members, mask)}
        )
    return pd.DataFrame(rows)


def means_by_prompt(matrix: Matrix, labels: Labels, clusters: list[int]) -> Doubles:
    """Mean entry of each cluster's pairs, (cluster, defined prompt)."""
    member = np.array([labels == cluster for cluster in clusters])
    total = np.zeros((len(clusters), int(matrix.prompt_defined.sum())))
    for place, part in matrix.blocks():
        total += member[:, place].astype(np.float32) @ part.T
    return total / np.maximum(member.sum(axis=1, keepdims=True), 1)


def source_enrichment(labels: Labels, source: pd.Series) -> pd.DataFrame:
    """How much more frequent each source is in a cluster than in all data.

    `cluster, source, size, share, share_of_data, enrichment, enrichment_low, enrichment_high, p,
    q`: enrichment is the ratio of the two shares, 1 at chance, with an exact 95% interval of the
    first. `p` is the chance of so many or more if the cluster's pairs were drawn at random, `q`
    corrects it over every cluster and source.
    """
    table = pd.DataFrame({"cluster": labels, "source": source.astype(str).to_numpy()})
    grid = pd.crosstab(table["cluster"], table["source"])
    counts = grid.melt(ignore_index=False, value_name="size").reset_index()
    sizes = counts.groupby("cluster")["size"].transform("sum")
    totals, n = counts["source"].map(table["source"].value_counts()), len(table)
    counts["share"] = counts["size"] / sizes
    counts["share_of_data"] = totals / n
    counts["enrichment"] = counts["share"] / counts["share_of_data"]
    low, high = share_interval(counts["size"], sizes)
    counts["enrichment_low"] = low / counts["share_of_data"]
    counts["enrichment_high"] = high / counts["share_of_data"]
    counts["p"] = chance_of_at_least(counts["size"], sizes, totals, n)
    counts["q"] = q_values(counts["p"])  # sources that a cluster lacks count too
    counts = counts[counts["size"] > 0]
    return counts.sort_values(["cluster", "size"], ascending=[True, False], ignore_index=True)


class Attribution(NamedTuple):
    """Share of each pair in the attribution of every `BEHAVIOR` that a prompt shows."""

    behaviors: pd.DataFrame
    shares: Floats  # (behavior, pair), rows sum to 1

    def of_clusters(self, labels: Labels) -> pd.DataFrame:
        """`SHARES`, one row per behavior and cluster, −1 included; `labels` is (pair,)."""
        clusters, place = np.unique(labels, return_inverse=True)
        tables = [pd.DataFrame(columns=SHARES)]
        for behavior, shares in zip(self.behaviors.to_dict("records"), self.shares, strict=True):
            parts = np.bincount(place, shares, len(clusters))
            columns = {"cluster": clusters, "share_of_attribution": parts, **behavior}
            tables.append(pd.DataFrame(columns, columns=SHARES))
        return pd.concat(tables[1:] or tables, ignore_index=True)


def attribution(
    uids: pd.Series, index: VectorIndex, activations: Activations, layer: int
) -> Attribution:
    """Shares of the pairs `uids` in the positive attribution of every behavior."""
    behaviors, shares = [], [np.empty((0, len(uids)), np.float32)]
    queries = list(_queries(activations, layer))
    for start in range(0, len(queries), AT_ONCE):
        batch = queries[start : start + AT_ONCE]
        tables = scan(index, layer, [query for _, query in batch], bank=False)
        for (behavior, query), scores in zip(batch, tables, strict=True):
            if scores[DEFAULT_SCORE].gt(0).any():
                names = {name: getattr(behavior, name) for name in BEHAVIOR[:-1]}
                behaviors.append(names | {"n_prompts": len(query.behavior)})
                shares.append(positive_shares(uids, scores)[None])
    return Attribution(pd.DataFrame(behaviors, columns=BEHAVIOR), np.concatenate(shares))


def positive_shares(uids: pd.Series, ranking: pd.DataFrame) -> Floats:
    """(pair,) each pair's part of all positive attribution; 0 where its score is undefined."""
    positive = ranking.set_index("uid")[DEFAULT_SCORE].clip(lower=0).fillna(0)
    shares = positive.reindex(uids, fill_value=0).to_numpy() / positive.sum()
    return shares.astype(np.float32)


def read_attribution(output: Path) -> Attribution | None:
    """The attribution of a discover run; None for a run of a version that saved none."""
    if not (output / ATTRIBUTION).is_file():
        return None
    behaviors = data_frame(output / "contributions.parquet")[BEHAVIOR].drop_duplicates()
    return Attribution(behaviors, array(output / ATTRIBUTION))


def _queries(activations: Activations, layer: int) -> Iterator[tuple[Behavior, Query]]:
    """Every flag × group × condition that the policy shows more than the reference."""
    rows = activations.completions
    cells = rows[["group", "condition"]].drop_duplicates().itertuples(index=False)
    flags = [str(name) for name in rows.select_dtypes("boolean")]
    for (group, condition), flag in product(cells, flags):
        name = f"{flag} · {group} · {condition}"
        behavior = Behavior(name=name, flag=flag, group=group, condition=condition, wanted=False)
        try:
            passing = passing_prompts(rows, behavior).prompt_ids
        except UserError:  # no prompt shows it
            continue
        query = query_at(behavior_vectors(activations, behavior, passing), layer)
        if query.pooled.any():
            yield behavior, query


def _strongest(prompts: PromptClusters, members: Flags) -> int:
    """The prompt cluster where these pairs' score × strength is largest; −1 without any."""
    if not len(prompts.scores) or not members.any():
        return -1
    return int((prompts.scores[:, members].mean(axis=1) * prompts.strength).argmax())


def _interval(means: Doubles) -> dict[str, float]:
    """Mean over prompts, with a bootstrap."""
    mean, low, high, _ = bootstrap(
        lambda times: times @ means / len(means), len(means), seed=SEED, draws=DRAWS
    )
    return {"push": mean, "push_low": low, "push_high": high}


def _effect(scores: Floats | None, members: Flags) -> dict[str, float]:
    """Distance from the other pairs' scores, and the share of all positive scores."""
    if scores is None or members.all() or not members.any():
        return dict.fromkeys(("effect_size", "push_share", "swapped_share"), float("nan"))
    others = scores[~members]
    spread = others.std()
    distance = (scores[members].mean() - others.mean()) / spread if spread > 0 else float("nan")
    positive = np.maximum(scores, 0)
    total = positive.sum()
    n = int((scores[members] > 0).sum())
    swapped = np.sort(np.maximum(-scores, 0))[::-1][:n]
    shares = [
        float(part.sum() / total) if total > 0 else float("nan")
        for part in (positive[members], swapped)
    ]
    return {"effect_size": float(distance), "push_share": shares[0], "swapped_share": shares[1]}


def _sign_agreement(matrix: Matrix, members: Flags, prompts: Flags) -> float:
    """Share of pairs whose mean is positive on both random halves, over `SPLITS` splits."""
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
