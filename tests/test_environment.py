"""Which device a step takes, from the files of a machine with GPUs that is made here."""

import socket

import pytest
from filelock import Timeout

from core import environment
from core.runs.store import Store


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Two GPUs, and the files that a driver puts beside theirs."""
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    monkeypatch.setattr(environment, "FILES", tmp_path)
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
    assert environment.taken() == taken


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("visible", "first"), [("1", "1"), ("GPU-8f,0", "GPU-8f"), ("", "cpu"), ("-1", "cpu")]
)
def test_a_gpu_that_a_process_sees_alone_is_told_from_another_s(visible, first, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert environment.taken() == [first]


@pytest.mark.usefixtures("machine")
def test_several_processes_of_a_launch_take_all_gpus(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert environment.taken() == ["0", "1"]


def test_a_machine_without_gpus_computes_on_its_processor(machine, monkeypatch):
    monkeypatch.setattr(environment, "FILES", machine / "elsewhere")
    monkeypatch.setenv(environment.DEVICE, "cuda:1")
    assert environment.taken() == ["cpu"]


def test_locks_of_devices_lie_in_the_workspace_whatever_a_device_is_called(tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "node1.lab")
    locks = [Store(tmp_path).device_lock(name) for name in ("0", "1", "MIG-GPU-8f/1/0")]
    names = ["0", "1", "MIG-GPU-8f-1-0"]
    assert [lock.lock_file for lock in locks] == [
        str(tmp_path / f"device-node1.lab-{name}.lock") for name in names
    ]


def test_gpus_of_one_number_on_two_nodes_are_used_at_the_same_time(tmp_path, monkeypatch):
    store = Store(tmp_path)
    with store.device_lock("0"):
        with pytest.raises(Timeout):
            store.device_lock("0").acquire(timeout=0)
        monkeypatch.setattr(socket, "gethostname", lambda: "another")
        with store.device_lock("0").acquire(timeout=0) as other:
            assert other.is_locked
