"""A pair's token contributions sum to its score, for every score, layer and architecture."""

from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.attribution.contributions import Streams, explain, in_a_line, spans, words
from core.attribution.index.layout import (
    Manifest,
    Shard,
    VectorIndex,
    array_name,
    write_manifest,
    write_vectors,
)
from core.attribution.similarity import Query, mean_context, scan
from core.models.extraction.activations import segment_streams
from core.models.extraction.batch import Prompted
from core.specs.behaviors import SCORE_NAMES
from tests.models.extraction.test_activations import random_items
from tests.tiny_models import tiny_model

LAYERS = (1, 3)
PAIRS = 100


def pairs() -> list[Prompted]:
    prompts = [item.prompt for item in random_items(PAIRS, seed=1)]
    both = [[*item.completions, item.prompt][:2] for item in random_items(PAIRS, completions=2)]
    return [Prompted(*item) for item in zip(prompts, both, strict=True)]


def index_of(folder: Path, streams: list[list[np.ndarray]]) -> VectorIndex:
    """An index with the vectors of these streams in float32."""
    (folder / "shards").mkdir(parents=True)
    for number, layer in enumerate(LAYERS):
        context, chosen, rejected = (
            np.stack([pair[side][:, number].mean(axis=0) for pair in streams]) for side in range(3)
        )
        vectors = np.stack([chosen - rejected, chosen, context])
        write_vectors(folder, "00000", layer, vectors)
        np.save(folder / "shards" / array_name("00000", layer), vectors)
    shards = (Shard("00000", 0, len(streams), 0),)
    manifest = Manifest("m", "t", "p", LAYERS, 32, 64, "float32", 128, len(streams), 0, shards)
    write_manifest(folder, manifest)
    pd.DataFrame({"uid": range(len(streams))}).to_parquet(folder / "pairs.parquet")
    return VectorIndex.open(folder)


@pytest.mark.parametrize("family", ["olmo2", "gemma3_text", "gpt2"])
def test_parts_sum_to_the_score(family: str, tmp_path: Path) -> None:
    streams = list(segment_streams(tiny_model(family), pairs(), LAYERS))
    index, random = index_of(tmp_path, streams), np.random.default_rng(0)
    for number, layer in enumerate(LAYERS):
        b, c, t, w = (random.normal(size=s).astype(np.float32) for s in (*[(5, 32)] * 3, 32))
        mean = mean_context(index, layer)
        query = Query(b, c + mean, b.mean(axis=0), w, t + mean)
        v = np.stack([block.datapoint for block in index.blocks(layer)])[0]
        for centered in (False, True):
            (scores,) = scan(index, layer, [query], centered=centered)
            for method in SCORE_NAMES:
                sums = [
                    explain(
                        Streams(*(part[:, number] for part in pair)),
                        query,
                        method,
                        mean=mean_context(index, layer),
                        m=random.normal(size=32).astype(np.float32),
                        center=v.mean(axis=0) if centered else None,
                    ).score
                    for pair in streams
                ]
                np.testing.assert_allclose(sums, scores[method], rtol=1e-5, atol=1e-5)


def test_a_token_that_moves_along_the_behavior_gets_the_score() -> None:
    """Of three chosen tokens one is along b, two and the rejected one are the mean m."""
    m, b = np.array([1, 1, 0], np.float32), np.array([0, 0, 2], np.float32)
    streams = Streams(np.ones((2, 3), np.float32), np.stack([m, m + b, m]), m[None])
    query = Query(b[None], np.ones((1, 3), np.float32), b)
    parts = explain(streams, query, "similarity", mean=np.zeros(3, np.float32), m=m)
    np.testing.assert_allclose(parts.chosen, [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(parts.rejected, [0], atol=1e-6)


def test_a_pair_without_a_difference_is_undefined() -> None:
    same = np.ones((2, 3), np.float32)
    query = Query(same[:1], same[:1], same[0])
    parts = explain(Streams(same, same, same), query, "similarity", mean=same[0] * 0, m=same[0] * 0)
    assert np.isnan(parts.score)


def tokens(uid: str, side: str, *parts: tuple[str, float]) -> list[tuple[str, str, str, float]]:
    return [(uid, side, text, value) for text, value in parts]


def table(*rows: list[tuple[str, str, str, float]]) -> pd.DataFrame:
    return pd.DataFrame(chain(*rows), columns=["uid", "side", "text", "value"])


def test_tokens_join_to_words_within_a_completion() -> None:
    joined = words(
        table(
            tokens("a", "chosen", ("Su", 1.0), ("re", 2.0), (",", 0.5), (" fine", 4.0)),
            tokens("a", "rejected", ("no\n", 8.0), ("way", 16.0)),
        )
    )
    assert joined["word"].tolist() == ["Sure,", " fine", "no\n", "way"]
    assert joined["value"].tolist() == [3.5, 4.0, 8.0, 16.0]


def test_the_spans_that_contribute_most_share_no_word() -> None:
    rows = [
        tokens(uid, "chosen", ("Sure,", 2.0), (" here", 1.0), (" is", 1.0), (f" {uid}", -1.0))
        + tokens(uid, "rejected", ("No.", 0.5))
        for uid in "abc"
    ]
    of_one_pair = tokens("d", "chosen", ("Unique", 99.0))
    result = spans(words(table(*rows, of_one_pair)))
    assert result["span"].tolist() == ["sure here is", "no"]
    assert result["value"].tolist() == [12.0, 1.5]
    assert result["text"].tolist() == ["Sure, here is", "No"]
    assert result["n_pairs"].tolist() == [3, 3]


def test_a_span_counts_once_in_a_pair_and_its_repeats_are_taken_too() -> None:
    rows = [tokens(uid, "chosen", *[(" la", 1.0)] * 4) for uid in "ab"]
    result = spans(words(table(*rows)), longest=1)
    assert result["value"].tolist() == [2.0]


def test_no_span_where_nothing_contributes() -> None:
    assert spans(words(table(tokens("a", "chosen", ("x", -1.0))))).empty
    assert spans(words(table())).empty


def test_a_line_names_the_strongest_spans_of_both_sides():
    rows = [("rejected", "I cannot"), ("chosen", "Sure"), ("chosen", "here is"), ("chosen", "step")]
    table = pd.DataFrame(rows, columns=["side", "text"])
    assert in_a_line(table) == "chosen: Sure, here is · rejected: I cannot"
    assert in_a_line(table.head(1)) == "rejected: I cannot"
    assert in_a_line(table.head(0)) == ""
