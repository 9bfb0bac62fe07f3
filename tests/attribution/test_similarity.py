"""Scores are what the formulas say, whatever the blocks; what does not exist is NaN."""

import tracemalloc
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.attribution.index.layout import (
    Manifest,
    Shard,
    VectorIndex,
    write_manifest,
    write_vectors,
)
from core.attribution.similarity import Query, matrix_blocks, mean_context, nearest, scan
from core.geometry import cosines

D, N = 16, 60


def write_index(folder: Path, datapoint: np.ndarray, context: np.ndarray, cuts: int) -> VectorIndex:
    """An index of given vectors at layer 0, in `cuts` shards."""
    (folder / "shards").mkdir(parents=True)
    bounds = np.linspace(0, len(datapoint), cuts + 1).astype(int)
    shards = tuple(
        Shard(f"{i:05d}", int(a), int(b), 0) for i, (a, b) in enumerate(pairwise(bounds))
    )
    for shard in shards:
        rows = slice(shard.start, shard.stop)
        vectors = np.stack([datapoint[rows], datapoint[rows], context[rows]]).astype(np.float32)
        write_vectors(folder, shard.name, 0, vectors)
    manifest = Manifest("m", "t", "p", (0,), D, 64, "float32", 128, len(datapoint), 0, shards)
    write_manifest(folder, manifest)
    pd.DataFrame({"uid": [f"u{i}" for i in range(len(datapoint))]}).to_parquet(
        folder / "pairs.parquet"
    )
    return VectorIndex.open(folder)


@pytest.fixture
def vectors() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return (
        random.normal(size=(N, D)).astype(np.float16),
        random.normal(2.0, 1.0, size=(N, D)).astype(np.float16),
    )


@pytest.fixture
def query() -> Query:
    random = np.random.default_rng(1)
    behavior = random.normal(size=(5, D)).astype(np.float32)
    context, topics = random.normal(2.0, 1.0, size=(2, 5, D)).astype(np.float32)
    w = random.normal(size=D).astype(np.float32)
    return Query(behavior, context, behavior.mean(axis=0), w, topics)


def matrix(index: VectorIndex, query: Query, *, gated: bool) -> np.ndarray:
    _, blocks = matrix_blocks(index, 0, query, gated=gated)
    return np.concatenate([columns for _, columns in blocks], axis=1)


def cos(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def test_scores_are_those_of_the_formulas(
    tmp_path: Path, vectors: tuple[np.ndarray, np.ndarray], query: Query
) -> None:
    datapoint, context = (v.astype(np.float64) for v in vectors)
    (table,) = scan(write_index(tmp_path, *vectors, cuts=7), 0, [query])
    mean = context.mean(axis=0)
    for row in table.itertuples():
        v, c = datapoint[row.Index], context[row.Index]
        s = cos(query.pooled, v)
        gate = np.mean([max(0.0, cos(c_j - mean, c - mean)) for c_j in query.topics])
        assert row.discriminant == pytest.approx(cos(query.discriminant, v) * gate, abs=1e-5)
        assert row.uid == f"u{row.Index}"
        assert row.similarity == pytest.approx(s, abs=1e-5)
        assert row.gated == pytest.approx(s * gate, abs=1e-5)
        assert row.bank == pytest.approx(max(cos(b, v) for b in query.behavior), abs=1e-5)
        per_prompt = [
            cos(b, v) * max(0.0, cos(c_i - mean, c - mean))
            for b, c_i in zip(query.behavior, query.context, strict=True)
        ]
        assert row.bilinear == pytest.approx(np.mean(per_prompt), abs=1e-5)
        assert row.norm == pytest.approx(np.linalg.norm(v), rel=1e-5)
        assert row.projection == pytest.approx(s * row.norm, abs=1e-4)


@pytest.mark.parametrize("cuts", [1, 3, 60])
def test_blocks_change_nothing(
    cuts: int, tmp_path: Path, vectors: tuple[np.ndarray, np.ndarray], query: Query
) -> None:
    (one,) = scan(write_index(tmp_path / "a", *vectors, cuts=cuts), 0, [query])
    (other,) = scan(write_index(tmp_path / "b", *vectors, cuts=7), 0, [query])
    pd.testing.assert_frame_equal(one, other, rtol=1e-4, atol=1e-6)


def test_products_with_a_bank_are_not_kept_longer_than_their_block(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    index = write_index(tmp_path, *random.normal(size=(2, 600, D)), cuts=60)
    bank = random.normal(size=(2000, D)).astype(np.float32)
    tracemalloc.start()
    scan(index, 0, [Query(bank, bank, bank[0])])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    of_all_blocks = 4 * len(bank) * 600
    assert peak < of_all_blocks / 2


def test_several_behaviors_at_once_equal_each_alone(
    tmp_path: Path, vectors: tuple[np.ndarray, np.ndarray], query: Query
) -> None:
    index = write_index(tmp_path, *vectors, cuts=4)
    bank = -query.behavior[:2]
    other = Query(bank, query.context[:2], bank.mean(axis=0), -query.discriminant)
    together = scan(index, 0, [query, other])
    for found, single in zip(together, (query, other), strict=True):
        pd.testing.assert_frame_equal(found, scan(index, 0, [single])[0], rtol=1e-4, atol=1e-6)


def test_centering_takes_the_mean_datapoint_vector_off_each(
    tmp_path: Path, vectors: tuple[np.ndarray, np.ndarray], query: Query
) -> None:
    datapoint, context = vectors
    mean = datapoint.astype(np.float32).mean(axis=0)
    index = write_index(tmp_path, datapoint, context, cuts=7)
    (table,) = scan(index, 0, [query], centered=True)
    expected = cosines(query.pooled[None], datapoint.astype(np.float32) - mean)[0]
    np.testing.assert_allclose(table["similarity"], expected, atol=1e-4)


def test_equal_contexts_leave_nothing_to_gate_by(
    tmp_path: Path, vectors: tuple[np.ndarray, np.ndarray], query: Query
) -> None:
    """What rounding leaves of equal vectors must not look like a direction."""
    datapoint, context = vectors
    context[:] = context[0]
    index = write_index(tmp_path, datapoint, context, cuts=7)
    (table,) = scan(index, 0, [query])
    assert table[["gated", "bilinear"]].isna().all(axis=None)
    assert table["similarity"].notna().all()
    assert np.isnan(matrix(index, query, gated=True)).all()


def test_equal_datapoint_vectors_have_no_centered_score(
    tmp_path: Path, vectors: tuple[np.ndarray, np.ndarray], query: Query
) -> None:
    datapoint, context = vectors
    datapoint[:] = datapoint[0]
    index = write_index(tmp_path, datapoint, context, cuts=7)
    assert scan(index, 0, [query])[0]["similarity"].nunique() == 1
    assert scan(index, 0, [query], centered=True)[0]["similarity"].isna().all()


def test_prompts_without_a_topic_are_left_out_of_the_gate(
    tmp_path: Path, vectors: tuple[np.ndarray, np.ndarray], query: Query
) -> None:
    index = write_index(tmp_path, *vectors, cuts=2)
    nowhere = mean_context(index, 0)[None]
    wider = replace(query, topics=np.concatenate([query.topics, nowhere]))
    expected, found = (scan(index, 0, [q])[0]["gated"] for q in (query, wider))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert scan(index, 0, [replace(query, topics=nowhere)])[0]["gated"].isna().all()


def test_a_planted_pair_ranks_first(
    tmp_path: Path, vectors: tuple[np.ndarray, np.ndarray], query: Query
) -> None:
    datapoint, context = (v.astype(np.float32) for v in vectors)
    datapoint[17], context[17] = 0.3 * query.pooled, query.topics.mean(axis=0)
    (table,) = scan(write_index(tmp_path, datapoint, context, cuts=4), 0, [query])
    for score in ("similarity", "gated"):
        assert table[score].idxmax() == 17


def test_the_gate_takes_pairs_about_other_things_out(tmp_path: Path) -> None:
    """Two pairs with one datapoint vector; only one has the behavior's topic."""
    axes = np.eye(D, dtype=np.float32)
    datapoint = np.stack([axes[0], axes[0], axes[1]])
    context = np.stack([axes[2], -axes[2], axes[3]])
    query = Query(axes[:1], axes[2:3], axes[0])
    (table,) = scan(write_index(tmp_path, datapoint, context, cuts=1), 0, [query])
    np.testing.assert_allclose(table["similarity"], [1, 1, 0], atol=1e-6)
    assert table["gated"][0] > 0.9
    assert table["gated"][1] == 0


def test_a_zero_vector_has_no_score_and_spoils_no_other(
    tmp_path: Path, vectors: tuple[np.ndarray, np.ndarray], query: Query
) -> None:
    datapoint, context = vectors
    datapoint[3] = 0
    (table,) = scan(write_index(tmp_path, datapoint, context, cuts=4), 0, [query])
    missing = table[["similarity", "gated", "bank"]].isna()
    assert missing.loc[3].all()
    assert missing.drop(index=3).sum().sum() == 0


def test_a_bank_of_opposite_vectors_is_negative_not_zero(tmp_path: Path) -> None:
    """A maximum that starts at 0 would hide that every prompt's vector points away."""
    axes = np.eye(D, dtype=np.float32)
    query = Query(-axes[:1], axes[1:2], -axes[0])
    index = write_index(tmp_path, axes[[0, 0]], axes[[1, 2]], cuts=1)
    np.testing.assert_allclose(scan(index, 0, [query])[0]["bank"], [-1, -1])


def test_a_prompt_without_a_vector_is_left_out_of_the_bank(
    tmp_path: Path, vectors: tuple[np.ndarray, np.ndarray], query: Query
) -> None:
    index = write_index(tmp_path, *vectors, cuts=2)
    empty = np.zeros((1, D), np.float32)
    wider = Query(
        np.concatenate([query.behavior, empty]),
        np.concatenate([query.context, empty]),
        query.pooled,
    )
    expected, found = scan(index, 0, [query])[0], scan(index, 0, [wider])[0]
    for score in ("bank", "bilinear"):
        np.testing.assert_allclose(found[score], expected[score], atol=1e-6)


def test_without_a_prompt_that_has_both_vectors_there_is_no_bilinear_score(
    tmp_path: Path, vectors: tuple[np.ndarray, np.ndarray], query: Query
) -> None:
    index = write_index(tmp_path, *vectors, cuts=2)
    nowhere = np.broadcast_to(mean_context(index, 0), query.context.shape)
    (table,) = scan(
        index,
        0,
        [
            Query(query.behavior, nowhere, query.pooled),
        ],
    )
    assert table["bilinear"].isna().all()
    assert table["bank"].notna().all()


def test_the_matrix_is_the_bank_prompt_by_prompt(
    tmp_path: Path, vectors: tuple[np.ndarray, np.ndarray], query: Query
) -> None:
    index = write_index(tmp_path, *vectors, cuts=3)
    plain, gated = (matrix(index, query, gated=gated) for gated in (False, True))
    np.testing.assert_allclose(plain.max(axis=0), scan(index, 0, [query])[0]["bank"], atol=1e-6)
    mean = mean_context(index, 0)
    _, context = index.context(0)
    gate = np.maximum(cosines(query.context - mean, context - mean), 0)
    np.testing.assert_allclose(gated, plain * gate, atol=1e-6)


def test_without_bank_the_column_is_absent(
    tmp_path: Path, vectors: tuple[np.ndarray, np.ndarray], query: Query
) -> None:
    (table,) = scan(write_index(tmp_path, *vectors, cuts=2), 0, [query], bank=False)
    assert set(table) == {"uid", "similarity", "gated", "discriminant", "projection", "norm"}


def test_the_nearest_pairs_are_those_of_the_gated_cosine(
    tmp_path: Path, vectors: tuple[np.ndarray, np.ndarray]
) -> None:
    datapoint, context = (part.astype(np.float32) for part in vectors)
    index = write_index(tmp_path, *vectors, cuts=3)
    centred = context - context.mean(axis=0)
    kernel = cosines(datapoint, datapoint) * np.maximum(cosines(centred, centred), 0)
    expected = [f"u{i}" for i in np.argsort(-kernel[41], kind="stable")[:7]]
    assert expected[0] == "u41"
    assert nearest(index, 0, "u41", 7) == expected
    assert nearest(index, 0, "not indexed", 7) == []
