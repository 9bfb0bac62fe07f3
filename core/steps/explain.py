"""The explain step: which words of a pair its score comes from."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from core.attribution.contributions import Floats, Streams, explain, spans, words
from core.attribution.index.layout import VectorIndex
from core.attribution.similarity import Query, mean_context, mean_vector
from core.attribution.vectors import query_at
from core.data.tokens import completion_pieces, encode_completions, encode_prompts
from core.errors import UserError
from core.models.folder import ModelFolder
from core.runs.hashing import fingerprint_file, fingerprint_model
from core.runs.progress import Progress
from core.runs.store import Store
from core.specs.steps import ExplainSpec, IndexSpec, RankSpec
from core.steps.rank import scored_layers, vectors_of
from core.steps.shared import matching_index, write_summary
from core.storage.atomic import writing_atomic
from core.storage.tables import record, table

if TYPE_CHECKING:
    from core.models.loading import LoadedModel

SIDES = ("chosen", "rejected")
KEPT = 2 << 30  # bytes of weights at most of a model that stays in memory between two pairs
TOLERANCE = 0.01  # of a score: an index in half precision leaves 2e-4


def run(spec: ExplainSpec, *, store: Store, output: Path, progress: Progress) -> None:
    """Write tokens, spans and summary (docs/architecture.md)."""
    ranked = store.spec(spec.rank, RankSpec)
    uids = _uids(spec, store)
    all_pairs = store.index_pairs(ranked.index)
    pairs = all_pairs.rows(all_pairs.positions(uids))
    other = {side: text for side in SIDES if (text := getattr(spec, side)) is not None}
    tokens = token_parts(spec.rank, pairs.assign(**other), store, progress)
    if not other:
        _refuse_other_sums(spec.rank, ranked.method, tokens, store)
    tokens.to_parquet(output / "tokens.parquet", index=False)
    best = spans(words(tokens.dropna()))  # a pair whose score is undefined has no parts
    best.to_parquet(output / "spans.parquet", index=False)
    summary = {"behavior": ranked.behavior.name, "method": ranked.method, "n_pairs": len(uids)}
    write_summary(output, summary | {"spans": best.to_dict("records")})


def token_parts(rank: str, pairs: pd.DataFrame, store: Store, progress: Progress) -> pd.DataFrame:
    """`uid, side, text, value` of every piece of the completions of some pairs, in order.

    The pairs (`uid, prompt, chosen, rejected`) need not be in the index: their texts are read.
    """
    ranked = store.spec(rank, RankSpec)
    index = matching_index(ranked, store)
    layers = scored_layers(ranked, index, record(store.output(rank) / "summary.json")["layer"])
    queries = _queries(rank, ranked, index, layers, store, progress)
    scorers = [_Scorer(ranked, index, layer, q) for layer, q in zip(layers, queries, strict=True)]

    def values(_: int, streams: list[Floats]) -> Floats:
        of_layers = [scorer([part[:, at] for part in streams]) for at, scorer in enumerate(scorers)]
        mean: Floats = np.mean(of_layers, axis=0)
        return mean

    made = store.spec(ranked.index, IndexSpec)
    return pieces_of_pairs(made, index, layers, pairs, values, store, progress)


def pieces_of_pairs(
    made: IndexSpec,
    index: VectorIndex,
    layers: Sequence[int],
    pairs: pd.DataFrame,
    values: Callable[[int, list[Floats]], Floats],
    store: Store,
    progress: Progress,
) -> pd.DataFrame:
    """`uid, side, text, value`, in order; `values` has a number for each token of a pair.

    It is called with the pair's place and the streams of its prompt, chosen and rejected, each
    (token, layer, d_model), and returns the chosen tokens' numbers, then the rejected ones'.
    """
    from core.models.extraction.activations import segment_streams
    from core.models.extraction.batch import Prompted

    loaded = _loaded(store.model(made.model), index.manifest.dtype, max(layers))
    encoded = [encode_completions(loaded.tokenizer, pairs[side].tolist()) for side in SIDES]
    prompts = encode_prompts(loaded.tokenizer, pairs["prompt"].tolist())
    items = [Prompted(prompt, sides) for prompt, *sides in zip(prompts, *encoded, strict=True)]
    longest = min(made.max_length, loaded.model.config.max_position_embeddings)
    for uid, item in zip(pairs["uid"], items, strict=True):
        length = len(item.prompt) + max(map(len, item.completions))
        if length > longest:
            raise UserError(
                f"pair {uid!r}: prompt and completion have {length:,} tokens; the index was made "
                f"of at most {longest:,}. Shorten the text."
            )
    tables = []
    for number, streams in enumerate(segment_streams(loaded.model, items, layers)):
        progress(number, len(items), "reading pairs")
        tables += _pieces(loaded.tokenizer, pairs.iloc[number], values(number, streams))
    return pd.concat(tables, ignore_index=True)


def _uids(spec: ExplainSpec, store: Store) -> list[str]:
    """The pairs to explain: those named, or the best of the ranking."""
    ranking = table(store.output(spec.rank) / "ranking.parquet", ["uid"])["uid"]
    if not spec.uids:
        return ranking.head(spec.top).tolist()
    if unknown := sorted(set(spec.uids) - set(ranking)):
        raise UserError(f"{spec.rank}: ranks no pair {unknown[0]!r}. Name uids of its ranking.")
    return list(dict.fromkeys(spec.uids))


def _queries(
    rank: str,
    ranked: RankSpec,
    index: VectorIndex,
    layers: Sequence[int],
    store: Store,
    progress: Progress,
) -> list[Query]:
    """What the scores of a ranking multiply with; kept, as the model reads completions for it."""
    ranking = fingerprint_file(store.output(rank) / "ranking.parquet")
    path = store.workspace / "cache" / "queries" / f"{ranking}.npz"
    with suppress(OSError, ValueError, EOFError, BadZipFile), np.load(path) as kept:
        names = [[n for n in kept if n.endswith(f"-{layer}")] for layer in layers]
        return [Query(**{n.partition("-")[0]: kept[n] for n in of_layer}) for of_layer in names]
    _, _, vectors = vectors_of(ranked, store, index, progress)
    queries = [query_at(vectors, layer, ranked.pooling) for layer in layers]
    arrays = {
        f"{name}-{layer}": value
        for layer, query in zip(layers, queries, strict=True)
        for name, value in vars(query).items()
        if value is not None
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing_atomic(path) as part, part.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)
    return queries


def _loaded(folder: Path, dtype: str, blocks: int) -> "LoadedModel":
    """The model, kept by a process that explains pair after pair, unless it is large."""
    from core.models.loading import load_model

    if sum(file.stat().st_size for file in ModelFolder(folder).weights) > KEPT:
        return load_model(folder, dtype=dtype, blocks=blocks)
    return _kept(folder, fingerprint_model(folder), dtype, blocks)


@lru_cache(maxsize=1)
def _kept(folder: Path, _fingerprint: str, dtype: str, blocks: int) -> "LoadedModel":
    from core.models.loading import load_model

    return load_model(folder, dtype=dtype, blocks=blocks)


def _refuse_other_sums(rank: str, method: str, tokens: pd.DataFrame, store: Store) -> None:
    """`UserError` where the parts do not sum to the scores: an earlier version computed these."""
    ranking = table(store.output(rank) / "ranking.parquet", ["uid", method]).set_index("uid")
    sums = tokens.groupby("uid")["value"].sum(min_count=1)
    scores = ranking[method].loc[sums.index]
    if not np.allclose(sums, scores, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
        raise UserError(
            f"{rank}: an earlier version made this ranking, by another formula of its score. "
            "Delete the run and rank again (docs/method.md says how scores are computed now)."
        )


class _Scorer:
    """Contributions of a pair's completion tokens at one layer, chosen then rejected."""

    def __init__(self, ranked: RankSpec, index: VectorIndex, layer: int, query: Query) -> None:
        self._query, self._method = query, ranked.method
        self._mean = mean_context(index, layer)
        difference = mean_vector(index, layer, "datapoint")
        self._m = mean_vector(index, layer, "chosen") - difference / np.float32(2)
        self._center = difference if ranked.centered else None

    def __call__(self, streams: list[Floats]) -> Floats:
        parts = explain(
            Streams(*streams),
            self._query,
            self._method,
            mean=self._mean,
            m=self._m,
            center=self._center,
        )
        return np.concatenate([parts.chosen, parts.rejected])


def _pieces(tokenizer: Any, pair: pd.Series, values: Floats) -> list[pd.DataFrame]:
    """One table per side: the pieces of its text, with the sums over their tokens."""
    tables = []
    for side in SIDES:
        texts, counts = completion_pieces(tokenizer, pair[side])
        of_side, values = np.split(values, [sum(counts)])
        sums = np.add.reduceat(of_side, np.cumsum([0, *counts[:-1]]))
        tables.append(
            pd.DataFrame({"uid": pair["uid"], "side": side, "text": texts, "value": sums})
        )
    return tables
