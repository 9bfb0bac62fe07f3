"""The index: what was written is read, what is damaged is refused, nothing is done twice."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from core.attribution.index.build import ShardReader, open_tasks
from core.attribution.index.layout import (
    Manifest,
    VectorIndex,
    array_name,
    checksum,
    read_manifest,
    verify,
    write_manifest,
    write_vectors,
)
from core.attribution.index.plan import make_plan
from core.data.pair_table import open_columns
from core.data.tokens import encode_completion, encode_prompt, template_hash
from core.errors import UserError
from tests.tiny_models import WORDS, save_tiny_model, tiny_tokenizer


def random_pairs(n: int = 40, seed: int = 0) -> pd.DataFrame:
    """Pairs of random words; every fourth prompt is used twice."""
    random = np.random.default_rng(seed)

    def text() -> str:
        return " ".join(random.choice(WORDS, random.integers(2, 12)))

    prompts = [text() for _ in range(n)]
    return pd.DataFrame(
        {
            "uid": [f"uid{seed}-{i}" for i in range(n)],
            "prompt": [prompts[i - i % 4 // 3 * 3] for i in range(n)],
            "chosen": [text() for _ in range(n)],
            "rejected": [text() for _ in range(n)],
            "source": "random",
        }
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.attribution.index.plan.SHARD_TOKENS", (100, 1000))
    monkeypatch.setattr("core.attribution.index.plan.SHARDS", 8)


def plan(pairs: pd.DataFrame, folder: Path, **changes: Any) -> Manifest:
    earlier, under = changes.pop("earlier", []), changes.pop("under", "")
    tokenizer = tiny_tokenizer()
    wanted = Manifest(
        **{
            "model_hash": "model",
            "template_hash": template_hash(tokenizer),
            "pairs_hash": "pairs",
            "layers": (1, 3),
            "d_model": 32,
            "max_length": 64,
            "dtype": "float32",
            "budget": 128,
            "n_pairs": 0,
            "n_skipped": 0,
            "shards": (),
            **changes,
        }
    )
    path = folder.with_name(f"{folder.name}-pairs.jsonl")
    pairs.to_json(path, orient="records", lines=True)
    manifest = make_plan(
        open_columns(path, path.parent),
        tokenizer,
        wanted,
        folder,
        earlier=earlier,
        under=under,
        progress=lambda *_: None,
    )
    write_manifest(folder, manifest)
    return manifest


def compute(folder: Path, model: Path) -> int:
    """Do what is missing; returns how many shards that was."""
    tasks = open_tasks(folder, read_manifest(folder))
    if tasks:
        reader = ShardReader(folder, model)
        for task in tasks:
            reader(task, lambda _: None)
    return len(tasks)


def made(pairs: pd.DataFrame, folder: Path, model: Path, **changes: Any) -> VectorIndex:
    plan(pairs, folder, **changes)
    compute(folder, model)
    return VectorIndex.open(folder)


def by_uid(index: VectorIndex, layer: int, which: str = "datapoint") -> dict[str, np.ndarray]:
    uids, vectors = getattr(index, which)(layer)
    return dict(zip(uids, vectors, strict=True))


def test_vectors_are_those_of_the_plain_loop(model: Path, tmp_path: Path) -> None:
    from core.models.loading import load_model

    pairs = random_pairs(10)
    index = made(pairs, tmp_path, model)
    loaded = load_model(model)
    block = {uid: b for b in index.blocks(3) for uid in b.uids}

    def mean(row: Any, field: str) -> tuple[np.ndarray, np.ndarray]:
        prompt = encode_prompt(loaded.tokenizer, row.prompt)
        ids = prompt + encode_completion(loaded.tokenizer, getattr(row, field))
        with torch.inference_mode():
            states = loaded.model(torch.tensor([ids]), output_hidden_states=True).hidden_states[3]
        return states[0, : len(prompt)].mean(0).numpy(), states[0, len(prompt) :].mean(0).numpy()

    for row in pairs.itertuples():
        (context, chosen), (_, rejected) = mean(row, "chosen"), mean(row, "rejected")
        mine = block[row.uid]
        at = list(mine.uids).index(row.uid)
        np.testing.assert_allclose(mine.datapoint[at], chosen - rejected, rtol=2e-3, atol=2e-3)
        np.testing.assert_allclose(mine.chosen[at], chosen, rtol=2e-3, atol=2e-3)
        np.testing.assert_allclose(
            (mine.chosen[at] - mine.datapoint[at]), rejected, rtol=4e-3, atol=4e-3
        )
        np.testing.assert_allclose(mine.context[at], context, rtol=2e-3, atol=2e-3)


def test_every_pair_is_there_once(model: Path, tmp_path: Path) -> None:
    pairs = random_pairs()
    index = made(pairs, tmp_path, model)
    assert sorted(index.uids) == sorted(pairs["uid"])
    assert len(index.manifest.shards) > 3
    assert [uid for block in index.blocks(1) for uid in block.uids] == list(index.uids)


def test_swapping_labels_negates_the_datapoint_vector(model: Path, tmp_path: Path) -> None:
    pairs = random_pairs(12)
    swapped = pairs.rename(columns={"chosen": "rejected", "rejected": "chosen"})
    one = by_uid(made(pairs, tmp_path / "a", model), 3)
    other = by_uid(made(swapped, tmp_path / "b", model), 3)
    for uid, vector in one.items():
        np.testing.assert_allclose(vector, -other[uid], rtol=2e-3, atol=1e-4)


def test_the_budget_changes_no_vector(model: Path, tmp_path: Path) -> None:
    pairs = random_pairs()
    one = by_uid(made(pairs, tmp_path / "a", model, budget=30), 3)
    other = by_uid(made(pairs, tmp_path / "b", model, budget=5000), 3)
    for uid, vector in one.items():
        np.testing.assert_allclose(vector, other[uid], rtol=2e-3, atol=1e-4)


def test_a_restart_does_only_what_is_missing_and_ends_in_the_same_bytes(
    model: Path, tmp_path: Path
) -> None:
    made(random_pairs(), tmp_path, model)
    expected = checksum(tmp_path)
    (tmp_path / "shards" / array_name("00002", 3)).unlink()
    (tmp_path / "shards" / array_name("00004", 1)).with_suffix(".json").unlink()
    assert compute(tmp_path, model) == 2
    assert checksum(tmp_path) == expected
    assert compute(tmp_path, model) == 0


@pytest.mark.parametrize("threads", [1, 3])
def test_the_threads_that_a_process_was_left_with_change_no_byte(
    threads: int, model: Path, tmp_path: Path
) -> None:
    """UMAP leaves torch with another number of threads, which cuts sums at other places."""
    made(random_pairs(), tmp_path / "a", model)
    plan(random_pairs(), tmp_path / "b")
    reader, during = ShardReader(tmp_path / "b", model), set()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for task in open_tasks(tmp_path / "b", reader.manifest):
            reader(task, lambda _: during.add(torch.get_num_threads()))
        assert (during, torch.get_num_threads()) == ({1}, threads)
    finally:
        torch.set_num_threads(before)
    assert checksum(tmp_path / "b") == checksum(tmp_path / "a")


def test_a_damaged_shard_is_found_and_only_it_is_done_again(model: Path, tmp_path: Path) -> None:
    made(random_pairs(), tmp_path, model)
    assert verify(tmp_path).empty
    path = tmp_path / "shards" / array_name("00001", 3)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert verify(tmp_path)[["shard", "layer"]].values.tolist() == [["00001", 3]]
    assert compute(tmp_path, model) == 1
    assert verify(tmp_path).empty


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_shard_that_cannot_be_read_is_refused_by_name(
    damage: str, model: Path, tmp_path: Path
) -> None:
    index = made(random_pairs(), tmp_path, model)
    path = tmp_path / "shards" / array_name("00001", 3)
    path.unlink() if damage == "missing" else path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match="00001-layer3"):
        index.datapoint(3)
    assert len(index.datapoint(1)[0]) == 40


def test_more_pairs_cost_only_the_new_ones(model: Path, tmp_path: Path) -> None:
    pairs, more = random_pairs(), random_pairs(10, seed=2)
    first = made(pairs, tmp_path / "a", model)
    together = pd.concat([pairs, more], ignore_index=True)
    plan(together, tmp_path / "b", earlier=[tmp_path / "a"])
    tasks = open_tasks(tmp_path / "b", read_manifest(tmp_path / "b"))
    assert sum(task.shard.stop - task.shard.start for task in tasks) == 10
    compute(tmp_path / "b", model)
    index = VectorIndex.open(tmp_path / "b")
    assert sorted(index.uids) == sorted(together["uid"])
    before, after = by_uid(first, 3), by_uid(index, 3)
    assert all(np.array_equal(after[uid], vector) for uid, vector in before.items())


def test_more_layers_cost_only_the_new_ones(model: Path, tmp_path: Path) -> None:
    pairs = random_pairs()
    made(pairs, tmp_path / "a", model)
    plan(pairs, tmp_path / "b", layers=(1, 2, 3), earlier=[tmp_path / "a"])
    tasks = open_tasks(tmp_path / "b", read_manifest(tmp_path / "b"))
    assert {task.layers for task in tasks} == {(2,)}
    compute(tmp_path / "b", model)
    expected = by_uid(made(pairs, tmp_path / "c", model, layers=(2,)), 2)
    found = by_uid(VectorIndex.open(tmp_path / "b"), 2)
    for uid, vector in expected.items():
        np.testing.assert_allclose(found[uid], vector, rtol=2e-3, atol=1e-4)


def test_a_changed_pair_is_never_adopted(model: Path, tmp_path: Path) -> None:
    pairs = random_pairs()
    made(pairs, tmp_path / "a", model)
    pairs.loc[7, "chosen"] = "w1 w2 w3"
    plan(pairs, tmp_path / "b", earlier=[tmp_path / "a"])
    tasks = open_tasks(tmp_path / "b", read_manifest(tmp_path / "b"))
    todo = {uid for t in tasks for uid in _uids(tmp_path / "b")[t.shard.start : t.shard.stop]}
    assert "uid0-7" in todo
    assert len(todo) < 40


def _uids(folder: Path) -> list[str]:
    return pd.read_parquet(folder / "pairs.parquet")["uid"].tolist()


@pytest.mark.parametrize("change", [{"model_hash": "x"}, {"template_hash": "x"}, {"dtype": "x"}])
def test_vectors_of_another_model_are_never_adopted(
    change: dict[str, str], model: Path, tmp_path: Path
) -> None:
    pairs = random_pairs()
    made(pairs, tmp_path / "a", model)
    plan(pairs, tmp_path / "b", earlier=[tmp_path / "a"], **change)
    tasks = open_tasks(tmp_path / "b", read_manifest(tmp_path / "b"))
    assert sum(task.shard.stop - task.shard.start for task in tasks) == 40


def test_a_damaged_earlier_index_is_not_adopted(model: Path, tmp_path: Path) -> None:
    pairs = random_pairs()
    made(pairs, tmp_path / "a", model)
    (tmp_path / "a" / "shards" / array_name("00000", 1)).write_bytes(b"not an array")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "manifest.json").write_text("{")
    plan(pairs, tmp_path / "c", earlier=[tmp_path / "b", tmp_path / "a"])
    tasks = open_tasks(tmp_path / "c", read_manifest(tmp_path / "c"))
    assert [(task.shard.name, task.layers) for task in tasks] == [("00000", (1,))]


def test_the_embeddings_alone_can_be_indexed(model: Path, tmp_path: Path) -> None:
    alone = by_uid(made(random_pairs(6), tmp_path / "a", model, layers=(0,)), 0)
    beside = by_uid(made(random_pairs(6), tmp_path / "b", model, layers=(0, 2)), 0)
    assert all(np.array_equal(alone[uid], vector) for uid, vector in beside.items())


@pytest.mark.parametrize("what", ["model", "template"])
def test_an_index_of_another_model_or_template_is_refused(
    what: str, model: Path, tmp_path: Path
) -> None:
    index = made(random_pairs(4), tmp_path, model)
    VectorIndex.open(tmp_path, **{f"{what}_hash": getattr(index, f"{what}_hash")})
    with pytest.raises(UserError, match=f"another {what}"):
        VectorIndex.open(tmp_path, **{f"{what}_hash": "x"})


def test_a_layer_that_was_not_kept_is_refused(model: Path, tmp_path: Path) -> None:
    index = made(random_pairs(4), tmp_path, model)
    with pytest.raises(UserError, match="has layers 1, 3"):
        next(index.blocks(2))


@pytest.mark.parametrize("text", ["", "{", "{}", json.dumps({"format": 99})])
def test_a_folder_without_a_good_manifest_is_refused(text: str, tmp_path: Path) -> None:
    if text:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=r"manifest\.json|format 99"):
        VectorIndex.open(tmp_path)


def test_pairs_that_do_not_fit_are_counted_with_row_field_and_reason(tmp_path: Path) -> None:
    pairs = random_pairs(5)
    pairs.loc[1, "rejected"] = "w1 " * 70
    pairs.loc[3, "prompt"] = "w1 " * 70
    pairs.loc[4, "chosen"] = "  "
    manifest = plan(pairs, tmp_path)
    skipped = pd.read_parquet(tmp_path / "skipped.parquet")
    assert (manifest.n_pairs, manifest.n_skipped) == (2, 3)
    assert skipped[["row", "uid", "field"]].values.tolist() == [
        [5, "uid0-4", "chosen"],  # left out by reading, from 1
        [2, "uid0-1", "rejected"],
        [4, "uid0-3", "prompt"],
    ]
    assert "64 fit" in skipped["reason"][1]


def test_values_beyond_float16_are_kept_in_float32(tmp_path: Path) -> None:
    vectors = np.full((3, 2, 4), 1e5, np.float32)
    path = tmp_path / "shards" / array_name("00000", 1)
    path.parent.mkdir()
    write_vectors(tmp_path, "00000", 1, vectors)
    np.testing.assert_array_equal(np.load(path), vectors)
    write_vectors(tmp_path, "00000", 1, vectors / 1e5)
    assert np.load(path).dtype == np.float16


def test_values_that_are_not_finite_are_never_stored(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not finite"):
        write_vectors(tmp_path, "00000", 1, np.full((3, 1, 2), np.nan, np.float32))
