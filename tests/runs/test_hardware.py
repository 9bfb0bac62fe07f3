"""Which device a step takes, from the files of a machine with GPUs that is made here."""

import pytest

from core.runs import environment, hardware
from core.runs.store import Store


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Two GPUs, and the files that a driver puts beside theirs."""
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    monkeypatch.setattr(hardware, "FILES", tmp_path)
    monkeypatch.delenv(environment.DEVICE, raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("device", "taken"),
    [
        ("auto", ["0"]),
        ("cpu", ["cpu"]),
        ("cuda", ["0"]),
        ("cuda:1", ["1"]),
        ("cuda:7", ["cuda:7"]),
        ("balanced:20GB", ["0", "1"]),
    ],
)
def test_each_name_takes_its_own_gpus(device, taken, monkeypatch):
    monkeypatch.setenv(environment.DEVICE, device)
    assert hardware.taken() == taken


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("visible", "first"), [("1", "1"), ("GPU-8f,0", "GPU-8f"), ("", "cpu"), ("-1", "cpu")]
)
def test_a_gpu_that_a_process_sees_alone_is_told_from_another_s(visible, first, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert hardware.taken() == [first]


@pytest.mark.usefixtures("machine")
def test_several_processes_of_a_launch_take_all_gpus(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert hardware.taken() == ["0", "1"]


def test_a_machine_without_gpus_computes_on_its_processor(machine, monkeypatch):
    monkeypatch.setattr(hardware, "FILES", machine / "elsewhere")
    monkeypatch.setenv(environment.DEVICE, "cuda:1")
    assert hardware.taken() == ["cpu"]


def test_locks_of_devices_lie_in_the_workspace_whatever_a_device_is_called(tmp_path):
    locks = [Store(tmp_path).device_lock(name) for name in ("0", "1", "MIG-GPU-8f/1/0")]
    names = ["device-0.lock", "device-1.lock", "device-MIG-GPU-8f-1-0.lock"]
    assert [lock.lock_file for lock in locks] == [str(tmp_path / name) for name in names]
