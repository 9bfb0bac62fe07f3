"""Where a model is computed and in which arithmetic: by hardware, as told, or refused in words."""

import pytest
import torch

from core import environment
from core.errors import UserError
from core.models.devices import pick_device, pick_dtype
from core.models.loading import load_classifier, load_model
from tests.tiny_models import save_tiny_model

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def two_gpus(monkeypatch):
    """A machine whose driver reports two GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:0", "cuda:1"])
def test_a_device_that_is_here_is_taken(name, monkeypatch):
    assert pick_device(name) == torch.device(name)
    monkeypatch.setenv(environment.DEVICE, name)
    assert pick_device("auto") == torch.device(name)


@pytest.mark.usefixtures("two_gpus")
def test_a_device_that_is_not_here_is_refused_with_what_is():
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
def test_every_model_goes_where_the_environment_says(load, tmp_path, monkeypatch):
    folder = save_tiny_model(tmp_path)
    monkeypatch.setenv(environment.DEVICE, "cuda:9")
    with pytest.raises(UserError, match="cuda:9"):
        load(folder)


@pytest.mark.parametrize(
    "name", ["gpu", "cuda:", "CPU", "", "cuda:0; rm", "balanced:", "balanced:2", "balanced:2TB"]
)
def test_what_is_no_name_of_a_device_is_refused(name, monkeypatch):
    monkeypatch.setenv(environment.DEVICE, name)
    with pytest.raises(UserError, match="it is auto, cpu, cuda, cuda:N"):
        pick_device("auto")


def test_what_the_command_line_says_of_the_device_goes_before_the_project(monkeypatch):
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
def test_the_arithmetic_follows_the_device_unless_told(dtype, device, expected):
    assert pick_dtype(dtype, device) == expected


def test_half_precision_is_refused_on_a_cpu(tmp_path):
    with pytest.raises(UserError, match=r"float16 is for GPUs.*bfloat16"):
        load_model(save_tiny_model(tmp_path), dtype="float16", device="cpu")
