"""The index step: from a pairs file and a model folder to vectors, through the run store."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.attribution.index.layout import VectorIndex, checksum
from core.attribution.similarity import mean_context
from core.data.pairs import read_pairs
from core.data.tokens import encode_completion, encode_prompt
from core.errors import UserError
from core.models.extraction import llama
from core.models.extraction.activations import segment_means
from core.models.loading import load_tokenizer
from core.runs.execute import execute
from core.runs.progress import Cancelled, Progress
from core.runs.store import Store
from core.specs.steps import IndexSpec
from core.steps import index as step
from tests.attribution.index.test_layout import random_pairs
from tests.tiny_models import save_tiny_model


class StopsHalfway(Progress):
    """A stop that is asked for once twenty pairs are done."""

    def __call__(self, done: int, total: int, note: str = "", *, work: float | None = None) -> None:
        if done > 20 and "layers" in note:
            raise Cancelled


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> IndexSpec:
    monkeypatch.setattr("core.attribution.index.plan.SHARD_TOKENS", (200, 1000))
    model = save_tiny_model(tmp_path / "model")
    pairs = tmp_path / "pairs.jsonl"
    random_pairs(30).to_json(pairs, orient="records", lines=True)
    return IndexSpec(model=str(model), pairs=str(pairs))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "workspace")


def test_every_layer_is_kept_unless_some_are_named(spec: IndexSpec, store: Store) -> None:
    index = VectorIndex.open(store.output(execute(spec, store)))
    assert index.layers == (0, 1, 2, 3)
    assert len(index.uids) == 30
    _, context = index.context(2)
    np.testing.assert_allclose(mean_context(index, 2), context.mean(axis=0), atol=1e-5)
    assert (index.folder / "mean-context-layer2.npy").exists()
    some = spec.model_copy(update={"layers": (2, 1)})
    assert VectorIndex.open(store.output(execute(some, store))).layers == (1, 2)


def test_a_layer_that_no_block_reads_is_refused(spec: IndexSpec, store: Store) -> None:
    with pytest.raises(UserError, match=r"4 is not one of 0\.\.3"):
        execute(spec.model_copy(update={"layers": (1, 4)}), store)


def test_activations_that_are_not_finite_name_a_pair_and_keep_what_is_done(
    spec: IndexSpec, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = segment_means
    calls = []

    def broken(*args: Any, **kwargs: Any) -> Any:
        means = whole(*args, **kwargs)
        calls.append(1)
        if len(calls) == 2:
            means.completion[0, 0, 0] = np.nan
        return means

    monkeypatch.setattr("core.attribution.index.build.segment_means", broken)
    with pytest.raises(UserError, match=r"float32 are not finite on 1 pairs.*first on 'uid"):
        execute(spec, store)
    done = list((store.folder(store.run_id(spec)) / "output.part" / "shards").glob("*.npy"))
    assert done
    execute(spec, store)


def test_a_cancelled_run_goes_on_where_it_stopped(
    spec: IndexSpec, store: Store, tmp_path: Path
) -> None:
    expected = checksum(store.output(execute(spec, store)))
    output, empty = tmp_path / "part", Store(tmp_path / "empty")
    output.mkdir()
    with pytest.raises(Cancelled):
        step.run(spec, store=empty, output=output, progress=StopsHalfway())
    whole = list(output.glob("shards/*.json"))
    before = {path: path.stat().st_mtime_ns for path in whole}
    step.run(spec, store=empty, output=output, progress=Progress())
    assert 0 < len(whole) < len(list(output.glob("shards/*.json")))
    assert {path: path.stat().st_mtime_ns for path in whole} == before
    assert checksum(output) == expected


def test_an_attempt_with_other_settings_is_started_over(
    spec: IndexSpec, store: Store, tmp_path: Path
) -> None:
    output = tmp_path / "part"
    output.mkdir()
    step.run(spec, store=store, output=output, progress=Progress())
    other = spec.model_copy(update={"layers": (3,)})
    step.run(other, store=store, output=output, progress=Progress())
    assert VectorIndex.open(output).layers == (3,)


def test_shards_of_another_plan_are_never_taken_for_those_of_this_one(
    spec: IndexSpec, tmp_path: Path
) -> None:
    store, output = Store(tmp_path / "empty"), tmp_path / "part"
    output.mkdir()
    step.run(spec, store=store, output=output, progress=Progress())
    turned = tmp_path / "turned.jsonl"
    random_pairs(30)[::-1].to_json(turned, orient="records", lines=True)
    other = spec.model_copy(update={"pairs": str(turned)})
    step.run(other, store=store, output=output, progress=Progress())
    assert checksum(output) == checksum(store.output(execute(other, store)))


def test_bad_rows_are_counted_and_good_ones_kept(
    spec: IndexSpec, store: Store, tmp_path: Path
) -> None:
    rows = random_pairs(6).to_dict("records")
    rows[1]["chosen"] = ""
    rows[4]["rejected"] = "w1 " * 300
    lines = [json.dumps(row) for row in rows]
    lines.insert(3, "{broken")
    path = tmp_path / "bad.jsonl"
    path.write_text("\n".join(lines))
    output = store.output(execute(spec.model_copy(update={"pairs": str(path)}), store))
    skipped = pd.read_parquet(output / "skipped.parquet")
    assert skipped[["row", "field"]].values.tolist() == [[2, "chosen"], [4, ""], [6, "rejected"]]
    assert sorted(VectorIndex.open(output).uids) == ["uid0-0", "uid0-2", "uid0-3", "uid0-5"]


def test_a_full_disk_keeps_what_is_done(
    spec: IndexSpec, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.storage import object_store

    write, written = object_store.write_atomic, []

    def full(path: Path, data: bytes) -> None:
        if len(written) > 8:
            raise OSError(28, "No space left on device")
        written.append(path)
        write(path, data)

    monkeypatch.setattr(object_store, "write_atomic", full)
    with pytest.raises(UserError, match="disk is full"):
        execute(spec, store)
    monkeypatch.setattr(object_store, "write_atomic", write)
    kept = {path: path.stat().st_mtime_ns for path in written}
    output = store.output(execute(spec, store))
    names = [output / path.relative_to(path.parents[1]) for path in written[:8]]
    assert [path.stat().st_mtime_ns for path in names] == list(kept.values())[:8]


@pytest.mark.slow
def test_processes_with_shards_elsewhere_end_in_the_same_bytes(
    spec: IndexSpec, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = checksum(store.output(execute(spec, store)))
    (tmp_path / "bucket").mkdir()
    monkeypatch.setenv("PAIRTRACE_SHARDS", f"file://{tmp_path / 'bucket'}")
    monkeypatch.setenv("PAIRTRACE_EXECUTOR", "process:2")
    other = Store(tmp_path / "other")
    output = other.output(execute(spec, other))
    assert checksum(output) == expected
    assert list(output.glob("shards/*")) == []
    assert VectorIndex.open(output).context(2)[1].shape == (30, 32)


def test_tokens_and_rows_left_out_are_those_of_the_file_read_at_once(
    spec: IndexSpec, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "core.data.pair_table.ROWS", 7
    )  # pairs of one prompt lie in several batches
    rows = random_pairs(40).to_dict("records")
    rows[5]["chosen"], rows[11]["uid"] = "", rows[3]["uid"]
    rows[20]["rejected"] = "w1 " * 300
    path = tmp_path / "odd.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    output = store.output(execute(spec.model_copy(update={"pairs": str(path)}), store))
    tokenizer = load_tokenizer(Path(spec.model))
    known = read_pairs(path).pairs
    together = known.iloc[np.argsort(known.groupby("prompt", sort=False).ngroup(), kind="stable")]
    together = together[together["uid"] != "uid0-20"]
    ids = [
        token
        for prompt, chosen, rejected in together[["prompt", "chosen", "rejected"]].to_numpy()
        for part in (
            encode_prompt(tokenizer, prompt),
            encode_completion(tokenizer, chosen),
            encode_completion(tokenizer, rejected),
        )
        for token in part
    ]
    assert np.fromfile(output / "tokens.bin", np.int32).tolist() == ids
    assert VectorIndex.open(output).uids.tolist() == together["uid"].tolist()
    skipped = pd.read_parquet(output / "skipped.parquet")
    assert skipped[["row", "field"]].values.tolist() == [
        *([6, "chosen"], [12, "uid"], [21, "rejected"]),
    ]


def test_a_model_that_fails_its_test_is_warned_of_and_one_that_passes_is_not(
    spec: IndexSpec, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    execute(spec.model_copy(update={"layers": (1,)}), store)
    assert "trust" not in caplog.text
    right = llama.streams
    monkeypatch.setattr(llama, "streams", lambda m, i, p, *rest: right(m, i, p.flip(0), *rest))
    (store.workspace / "cache" / "selftests.json").unlink()
    execute(spec.model_copy(update={"layers": (2,)}), store)
    assert "Do not trust this model's vectors: packed pass against plain pass" in caplog.text
