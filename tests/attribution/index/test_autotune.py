"""The budget that is measured: the faster one, cached, and the same for all who compute an index.

A pass of one pair against one of all pairs stands for what is slow and what is fast: that holds on
a machine however busy.
"""

import json
from pathlib import Path

import pytest

from core.attribution.index import autotune
from core.attribution.index.autotune import fastest
from core.attribution.index.layout import VectorIndex, checksum, read_manifest
from core.models import devices
from core.models.extraction.batch import Prompted
from core.runs.execute import execute
from core.runs.progress import Cancelled, Progress
from core.runs.store import Store
from core.specs.steps import IndexSpec
from core.steps import index as step
from tests.attribution.index.test_layout import random_pairs
from tests.steps.test_index_step import StopsHalfway
from tests.tiny_models import save_tiny_model, tiny_model

SLOW, FAST = 1, 2000


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> IndexSpec:
    """A small index that counts as a large one, on a machine whose rule says one pair at a time."""
    monkeypatch.setattr(autotune, "SHARE", 1e9)
    monkeypatch.setattr(devices, "CPU_BUDGET", (SLOW, SLOW))
    monkeypatch.setattr(devices, "CPU_BUDGETS", (FAST,))
    monkeypatch.setattr("core.attribution.index.plan.SHARD_TOKENS", (200, 1000))
    pairs = tmp_path / "pairs.jsonl"
    random_pairs(60).to_json(pairs, orient="records", lines=True)
    return IndexSpec(model=str(save_tiny_model(tmp_path / "model")), pairs=str(pairs))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "workspace")


def cache_file(store: Store) -> Path:
    return store.workspace / "cache" / "token-budgets.json"


def budget(spec: IndexSpec, store: Store, *layers: int) -> int:
    """That of an index of some layers, made now."""
    run = execute(spec.model_copy(update={"layers": layers}), store)
    return read_manifest(store.output(run)).budget


@pytest.mark.parametrize("rule", [SLOW, FAST])
def test_the_faster_budget_is_found_whatever_the_rule_says(rule: int) -> None:
    items = [Prompted([5, 6, 7 + i], [[8], [9, 10]]) for i in range(40)]
    seen: list[tuple[int, int]] = []
    chosen = fastest(tiny_model(), items, [SLOW, FAST], rule, lambda *at: seen.append(at))
    assert chosen == FAST
    assert seen[-1] == (len(seen) - 1, len(seen))


def test_budgets_that_are_alike_leave_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autotune, "GAIN", 0.5)  # as far from each other as noise is not
    items = [Prompted([5, 6, 7 + i], [[8], [9, 10]]) for i in range(40)]
    assert fastest(tiny_model(), items, [FAST, 2 * FAST], FAST, lambda *_: None) == FAST


def test_what_was_measured_is_kept_for_the_next_index(spec: IndexSpec, store: Store) -> None:
    assert budget(spec, store, 1) == FAST
    (key,) = json.loads(cache_file(store).read_text())
    assert key.endswith("float32, olmo2 32 48 4 4")
    cache_file(store).write_text(json.dumps({key: SLOW}))
    assert budget(spec, store, 2) == SLOW


@pytest.mark.parametrize("damage", ["{", "[]", '{"KEY": "fast"}', '{"KEY": 10000000}', "[" * 9999])
def test_a_damaged_file_of_what_was_measured_is_written_anew(
    damage: str, spec: IndexSpec, store: Store
) -> None:
    budget(spec, store, 1)
    complete = json.loads(cache_file(store).read_text())
    cache_file(store).write_text(damage.replace("KEY", next(iter(complete))))
    assert budget(spec, store, 2) == FAST
    assert json.loads(cache_file(store).read_text()) == complete


def test_a_cache_that_cannot_be_written_costs_a_measurement_only(
    spec: IndexSpec, store: Store
) -> None:
    cache_file(store).mkdir(parents=True)  # no file can take a folder's place
    assert budget(spec, store, 1) == FAST


def test_a_small_index_goes_by_the_rule_whatever_was_measured(
    spec: IndexSpec, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert budget(spec, store, 1) == FAST
    monkeypatch.undo()
    monkeypatch.setattr(devices, "CPU_BUDGET", (SLOW, SLOW))
    assert budget(spec, store, 2) == SLOW


def test_a_restart_goes_on_with_the_budget_it_began_with(
    spec: IndexSpec, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "part"
    output.mkdir()
    with pytest.raises(Cancelled):
        step.run(spec, store=store, output=output, progress=StopsHalfway())
    done = {path: path.stat().st_mtime_ns for path in output.glob("shards/*.json")}
    cache_file(store).unlink()
    monkeypatch.setattr(devices, "CPU_BUDGETS", (SLOW, 3))
    step.run(spec, store=store, output=output, progress=Progress())
    assert VectorIndex.open(output).manifest.budget == FAST
    assert 0 < len(done) < len(list(output.glob("shards/*.json")))
    assert {path: path.stat().st_mtime_ns for path in done} == done


@pytest.mark.slow
def test_workers_compute_with_the_budget_of_the_manifest(
    spec: IndexSpec, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = checksum(store.output(execute(spec, store)))
    other = Store(tmp_path / "other")
    monkeypatch.setenv("PAIRTRACE_EXECUTOR", "process:2")
    output = other.output(execute(spec, other))
    assert read_manifest(output).budget == FAST
    assert checksum(output) == expected
