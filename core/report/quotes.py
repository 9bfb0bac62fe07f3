"""What a report quotes: pairs, completions, and points of the map with their first words.

However many pairs there are, it stays small: ten pairs, a sample of points, long texts cut.
"""

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.attribution.contributions import words
from core.data.chat import display_text
from core.intervention.evaluation.verdict import flipped
from core.runs.store import Store
from core.specs.behaviors import Behavior
from core.specs.recipes import EditSpec
from core.specs.steps import DiscoverSpec, ExplainSpec, RankSpec
from core.storage.tables import record, table
from core.workspace.catalog import Catalog

QUOTED = 10  # pairs
MAP_POINTS = 6_000  # with about 300 bytes each
SNIPPET = 90  # bytes of a text on the map
CUT = 1_500  # characters of a quoted text
CLUSTERS = 12


def quotes(store: Store, edit: str, seeds: pd.DataFrame, aim: Behavior | None) -> dict[str, Any]:
    """The best pairs of the ranking that the report is about, and a completion that changed."""
    quoted: dict[str, Any] = {}
    example = flipped(store, seeds, aim) if aim else None
    if example is not None:
        quoted["example"] = {str(name): cut(text) for name, text in example.items()}
    rank = _rank_of(store, edit, aim)
    if not rank:
        return quoted
    spec, k = store.spec(rank, RankSpec), record(store.output(rank) / "summary.json")["suggested_k"]
    uids = table(store.output(rank) / "ranking.parquet", columns=["uid"])["uid"]
    pairs = store.index_pairs(spec.index)
    best = pairs.rows(pairs.positions(uids.head(QUOTED)))
    texts = best[["prompt", "chosen", "rejected", "source"]].map(cut)
    parts = _parts(store, rank, best["uid"].tolist())
    rows = [row | parts.get(str(uid), {}) for uid, row in texts.to_dict("index").items()]
    quoted |= {"pairs": rows, "pairs_of": spec.behavior.name}
    if k:
        sources = pairs["source"].iloc[pairs.positions(uids.head(k))].value_counts(normalize=True)
        quoted["cause"] = (
            f"The ranking suggests {k:,} of {len(pairs):,} pairs; {sources.iloc[0]:.0%} of these "
            f"come from {cut(sources.index[0], 80)}."
        )
    return quoted


def _parts(store: Store, rank: str, uids: list[str]) -> dict[str, dict[str, Any]]:
    """By uid, `chosen_parts` and `rejected_parts`: words with their part of the pair's score.

    Parts are from −1 to 1, the pair's largest. Empty where the ranking was not explained.
    """
    run = store.run_id(ExplainSpec(rank=rank))
    if store.state(run) != "finished":
        return {}
    tokens = table(store.output(run) / "tokens.parquet").dropna()
    joined = words(tokens[tokens["uid"].isin(uids)])
    largest = joined["value"].abs().groupby(joined["uid"]).transform("max").clip(lower=1e-9)
    joined = joined.assign(part=(joined["value"] / largest).round(2))
    parts: dict[str, dict[str, Any]] = {}
    for (uid, side), rows in joined.groupby(["uid", "side"], sort=False):
        short = rows[rows["word"].str.len().cumsum() <= CUT]
        pieces = list(zip(short["word"].map(_visible), short["part"].tolist(), strict=True))
        parts.setdefault(str(uid), {})[f"{side}_parts"] = pieces
    return parts


def _rank_of(store: Store, edit: str, aim: Behavior | None) -> str:
    """The ranking that an edit reads, or that of its behavior, or the newest; "" for none."""
    finished = store.finished("rank")
    edits = store.spec(edit, EditSpec).edits if edit else ()
    reads = [run for entry in edits for run in entry.runs() if run in finished]
    if aim:
        of_aim = [r for r in finished if store.spec(r, RankSpec).behavior.name == aim.name]
        reads += of_aim
    return next(iter([*reads, *finished]), "")


def on_map(store: Store, edit: str = "") -> dict[str, Any]:
    """Points, their clusters and the beginnings of their texts: all, or a sample; the clusters.

    `e` are the positions of the points that an edit removes or flips.
    """
    maps = store.finished("discover")
    if not maps:
        return {}
    output = store.output(maps[0])
    names, into = _names(store, maps[0])
    clusters = table(output / "clusters.parquet").query("cluster in @names")
    placed = table(output / "pairs.parquet", columns=["uid", "x", "y", "cluster"])
    placed = placed.dropna(subset=["x", "y"])
    total = len(placed)
    if total > MAP_POINTS:
        placed = placed.iloc[np.sort(np.random.default_rng(0).permutation(total)[:MAP_POINTS])]
    pairs = store.index_pairs(store.spec(maps[0], DiscoverSpec).index)
    texts = pairs.rows(pairs.positions(placed["uid"]))[["prompt", "chosen", "rejected"]]
    touched = _touched(store, edit) if edit else placed["uid"].head(0)
    places = [_scaled(placed[axis].to_numpy(float)) for axis in ("x", "y")]
    points = {
        "x": places[0],
        "y": places[1],
        "c": [into.get(cluster, cluster) for cluster in placed["cluster"].tolist()],
        "t": texts.map(_snippet).to_numpy().tolist(),
        "e": np.flatnonzero(placed["uid"].isin(touched)).tolist(),
        "names": {str(cluster): name for cluster, name in names.items()},
        "sample": f"{len(placed):,} of {total:,} pairs, drawn at random"
        if len(placed) < total
        else f"All {total:,} pairs",
    }
    shown = clusters.sort_values("size", ascending=False).head(CLUSTERS)
    columns = {
        "cluster": shown["cluster"].map(names),
        "pairs": shown["size"],
        "mostly from": [
            f"{cut(source, 60)} ({share:.0%})"
            for source, share in zip(shown["top_source"], shown["top_source_share"], strict=True)
        ],
        "words of chosen": shown["words_chosen"].map(cut),
        "words of rejected": shown["words_rejected"].map(cut),
    }
    return {"points": points, "clusters": pd.DataFrame(columns)}


def _touched(store: Store, edit: str) -> pd.Series:
    """Uids of the pairs that an edit removes or flips."""
    actions = table(store.output(edit) / "actions.parquet", columns=["uid", "action"])
    return actions.loc[actions["action"] != "keep", "uid"]


def _names(store: Store, discover: str) -> tuple[dict[int, str], dict[int, int]]:
    """Names that people gave, else the suggested; and the cluster that each is now part of."""
    clusters = table(store.output(discover) / "clusters.parquet")
    clusters = clusters[clusters["cluster"] >= 0]
    suggested = dict(zip(clusters["cluster"], clusters["suggested_name"], strict=True))
    if not (store.workspace / "catalog.sqlite").is_file():
        return {c: f"{c} · ({cut(name, 80)})" for c, name in suggested.items()}, {}
    labels = Catalog(store.workspace, writable=False).state().of(discover)
    names = {
        cluster: f"{cluster} · {cut(labels.names.get(cluster) or f'({name})', 80)}"
        for cluster, name in suggested.items()
        if labels.exists(cluster)
    }
    return names, {cluster: labels.now(cluster) for cluster in suggested}


def _scaled(values: np.ndarray) -> list[int]:
    """Positions from 0 to 1000."""
    low, high = float(values.min()), float(values.max())
    return np.round(1000 * (values - low) / ((high - low) or 1)).astype(int).tolist()


def cut(text: object, length: int = CUT) -> str:
    """The beginning of a text, conversations as turns, with stand-ins for control characters."""
    full = display_text(str(text))
    rest = f" … ({len(full) - length:,} more characters)" if len(full) > length else ""
    return _visible(full[:length]) + rest


def _visible(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)


def _snippet(text: object) -> str:
    """The beginning of a text in at most `SNIPPET` bytes."""
    line = " ".join(cut(str(text)[: 4 * SNIPPET]).split())
    start = line.encode()[:SNIPPET].decode(errors="ignore")
    return start if start == line else start + "…"


def relative(command: str, store: Store) -> str:
    """A command to be run in the workspace: paths in it are relative, others are shortened."""
    words = []
    for word in shlex.split(command):
        path = Path(word)
        if path == store.workspace:
            word = "."
        elif path.is_absolute() and path.is_relative_to(store.workspace):
            word = str(path.relative_to(store.workspace))
        elif path.is_absolute():
            word = str(Path("…", *path.parts[-2:]))
        words.append(word)
    return shlex.join(words)
