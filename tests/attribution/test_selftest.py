"""A sound model passes; a fault that is planted in the packed pass is named."""

from pathlib import Path
from typing import Any

import pytest
import torch

from core.attribution import selftest
from core.attribution.selftest import doubts, first_contact
from core.models.extraction import llama
from core.models.extraction.batch import Prompted
from tests.models.extraction.test_activations import random_items
from tests.tiny_models import save_tiny_model

LAYERS = [1, 3]


@pytest.fixture
def items() -> list[Prompted]:
    return [Prompted(i.prompt, [*i.completions, [7, 9], [8]][:2]) for i in random_items(8)]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_tiny_model(tmp_path / "model")


@pytest.fixture
def running_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions that run on across a batch, the mistake that a right mask hides."""
    right = llama.streams

    def wrong(model: Any, ids: Any, position: Any, *rest: Any) -> Any:
        return right(model, ids, torch.arange(len(position)), *rest)

    monkeypatch.setattr(llama, "streams", wrong)


def test_a_sound_model_passes_every_check(model: Path, items: list[Prompted]) -> None:
    checks = selftest.selftest(model, items, LAYERS, dtypes=["bfloat16", "float32"])
    assert [(check.check, check.dtype) for check in checks if not check.passed] == []
    names = ["packed pass against plain pass", "batch invariance", "determinism"]
    assert [check.check for check in checks] == [*names, *names, "rank agreement with float32"]
    errors = {(c.check, c.dtype): c.measured for c in checks}
    assert 0 < errors[names[0], "float32"] < 1e-5 < errors[names[0], "bfloat16"]


def test_wrong_positions_in_a_batch_fail(
    model: Path, items: list[Prompted], running_positions: None
) -> None:
    checks = selftest.selftest(model, items, LAYERS, dtypes=["float32"])
    failed = [check.check for check in checks if not check.passed]
    assert failed == ["packed pass against plain pass"]


@pytest.mark.parametrize("family", ["bloom", "gemma2"])
def test_a_family_that_is_read_otherwise_is_tested_too(
    tmp_path: Path, family: str, items: list[Prompted]
) -> None:
    model = save_tiny_model(tmp_path / family, family)
    checks = selftest.selftest(model, items, LAYERS, dtypes=["float32"])
    assert all(check.passed for check in checks)


def test_activations_that_are_not_finite_fail(tmp_path: Path, items: list[Prompted]) -> None:
    model = save_tiny_model(tmp_path / "model", initializer_range=1e30)
    checks = selftest.selftest(model, items, LAYERS, dtypes=["float32"])
    assert [(c.measured, c.passed) for c in checks[:2]] == [(None, False), (None, False)]


def contact(model: Path, items: list[Prompted], cache: Path) -> list[str]:
    return first_contact(model, "a" * 64, items, LAYERS, "float32", cache, lambda *_: None)


def test_what_failed_is_told_until_the_model_passes(
    model: Path, items: list[Prompted], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        right = llama.streams
        patch.setattr(llama, "streams", lambda m, i, p, *rest: right(m, i, p.flip(0), *rest))
        said = contact(model, items, tmp_path)
    assert len(said) == 2
    assert said[0].startswith(
        "Do not trust this model's vectors: packed pass against plain pass in"
    )
    assert contact(model, items, tmp_path) == said  # not tested again
    assert doubts(tmp_path, "a" * 64, "bfloat16") == doubts(tmp_path, "b" * 64) == []
    assert doubts(tmp_path, "a" * 64) == said
    selftest.keep(tmp_path, "a" * 64, selftest.selftest(model, items, LAYERS, dtypes=["float32"]))
    assert contact(model, items, tmp_path) == []


@pytest.mark.parametrize("damage", ["{", "[]", '{"KEY": "fine"}', '{"KEY": [{}]}', "[" * 9999])
def test_a_damaged_record_is_made_again(
    damage: str, model: Path, items: list[Prompted], tmp_path: Path
) -> None:
    contact(model, items, tmp_path)
    file = tmp_path / selftest.KEPT
    whole = file.read_text()
    file.write_text(damage)
    contact(model, items, tmp_path)
    assert file.read_text().count("determinism") == whole.count("determinism") == 1
