"""How much goes through a model at once: on a GPU, no more than its free memory holds."""

from types import SimpleNamespace

import pytest
import torch

from core.models.batch_size import GPU_BUDGET, GPU_LEAST, candidates, token_budget, tokens_that_fit

SEVEN_B = SimpleNamespace(hidden_size=4096, intermediate_size=11008)
GPU, BFLOAT16 = torch.device("cuda"), torch.bfloat16


@pytest.fixture
def free(monkeypatch):
    """Bytes free on a GPU that this machine lacks."""

    def set_free(memory):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (memory, 80_000_000_000))

    return set_free


def test_the_stream_of_one_pass_is_bound_on_a_cpu():
    least, narrow, wide = (SimpleNamespace(hidden_size=width) for width in (64, 192, 8192))
    on = torch.device("cpu")
    assert token_budget(on, least, torch.float32) == 4096
    assert token_budget(on, narrow, torch.float32) == 2730
    assert token_budget(on, narrow, BFLOAT16) == 4096
    assert token_budget(on, wide, torch.float32) == 2048


def test_a_gpu_takes_what_its_free_memory_holds(free):
    free(76_000_000_000)
    assert token_budget(GPU, SEVEN_B, BFLOAT16) == GPU_BUDGET
    assert candidates(GPU, SEVEN_B, BFLOAT16) == (8192, 16384, 32768, 65536)
    free(22_000_000_000)
    some = token_budget(GPU, SEVEN_B, BFLOAT16, weights=14_000_000_000)
    assert GPU_LEAST < some < 16384
    assert candidates(GPU, SEVEN_B, BFLOAT16, weights=14_000_000_000) == (8192,)
    assert token_budget(GPU, SEVEN_B, BFLOAT16, n_layers=32, weights=14_000_000_000) < some


def test_a_gpu_that_is_full_is_still_given_something():
    assert tokens_that_fit(-1e9, SEVEN_B, 2, 1) == GPU_LEAST


def test_a_family_that_names_no_inner_width_has_four_times_the_outer():
    named = SimpleNamespace(hidden_size=64, intermediate_size=256)
    silent = SimpleNamespace(hidden_size=64)
    assert tokens_that_fit(1e9, silent, 2, 1) == tokens_that_fit(1e9, named, 2, 1)
