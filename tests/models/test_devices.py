"""Device, arithmetic and batch size: chosen by hardware, as set, or refused in words."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from core import environment
from core.errors import UserError
from core.models.devices import (
    GPU_BUDGET,
    GPU_LEAST,
    candidates,
    pick_device,
    pick_dtype,
    token_budget,
    tokens_that_fit,
)
from core.models.loading import load_classifier, load_model
from tests.tiny_models import save_tiny_model

CPU, GPU, BFLOAT16 = torch.device("cpu"), torch.device("cuda"), torch.bfloat16
SEVEN_B = SimpleNamespace(hidden_size=4096, intermediate_size=11008)


@pytest.fixture
def two_gpus(monkeypatch):
    """A machine whose driver reports two GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:0", "cuda:1"])
def test_a_device_of_this_machine_is_used(name, monkeypatch):
    assert pick_device(name) == torch.device(name)
    monkeypatch.setenv(environment.DEVICE, name)
    assert pick_device("auto") == torch.device(name)


@pytest.mark.usefixtures("two_gpus")
def test_a_missing_device_is_refused_with_those_there_are():
    with pytest.raises(UserError, match=r"'cuda:2' is not .* There is cpu, cuda:0, cuda:1\."):
        pick_device("cuda:2")


def test_a_gpu_is_the_choice_where_there_is_one(two_gpus, monkeypatch):
    assert pick_device("auto") == GPU
    monkeypatch.undo()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == CPU
    with pytest.raises(UserError, match=r"'cuda' is not on this machine\. There is cpu\."):
        pick_device("cuda")


@pytest.mark.parametrize("load", [load_model, load_classifier])
def test_every_model_is_computed_where_the_environment_says(load, tmp_path, monkeypatch):
    folder = save_tiny_model(tmp_path)
    monkeypatch.setenv(environment.DEVICE, "cuda:9")
    with pytest.raises(UserError, match="cuda:9"):
        load(folder)


@pytest.mark.parametrize(
    "name", ["gpu", "cuda:", "CPU", "", "cuda:0; rm", "balanced:", "balanced:2", "balanced:2TB"]
)
def test_an_unknown_device_name_is_refused(name, monkeypatch):
    monkeypatch.setenv(environment.DEVICE, name)
    with pytest.raises(UserError, match="it is auto, cpu, cuda, cuda:N"):
        pick_device("auto")


def test_the_command_lines_device_takes_precedence_over_the_projects(monkeypatch):
    monkeypatch.delenv(environment.DEVICE, raising=False)
    with environment.computing_on("cuda:3"):
        assert environment.device() == "cuda:3"
    assert environment.device() == "auto"
    monkeypatch.setenv(environment.DEVICE, "cpu")
    with environment.computing_on("cuda:3"):
        assert environment.device() == "cpu"
    assert environment.device() == "cpu"


@pytest.mark.parametrize(
    ("dtype", "device", "expected"),
    [
        ("auto", CPU, torch.float32),
        ("auto", GPU, torch.bfloat16),
        ("bfloat16", CPU, torch.bfloat16),
        ("float16", GPU, torch.float16),
        ("float32", GPU, torch.float32),
    ],
)
def test_the_arithmetic_follows_the_device_unless_set(dtype, device, expected):
    assert pick_dtype(dtype, device) == expected


def test_half_precision_is_refused_on_a_cpu(tmp_path):
    with pytest.raises(UserError, match=r"float16 is for GPUs.*bfloat16"):
        load_model(save_tiny_model(tmp_path), dtype="float16", device="cpu")


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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_memory_that_is_freed_is_not_given_back_to_the_system():
    code = (
        "import resource; import torch; from core.models.devices import keep_freed_memory as keep;"
        "assert keep(); faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt;"
        "make = lambda: torch.ones(4 << 20); make(); before = faults();"  # 16 MB
        "[make() for _ in range(10)]; print(faults() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 4096  # pages of 4 kB: those of one tensor, not of ten
