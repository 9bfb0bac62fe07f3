"""What this machine computes on, told by its own files and without torch.

A run that waits in line for a device should not hold what loading torch takes. A GPU is named by
the number of its file, so that processes that may use different ones agree on which is which.
"""

import platform
from pathlib import Path

from core.runs import environment

FILES = Path("/dev")
CPU_INFO = Path("/proc/cpuinfo")
CPU = "cpu"


def gpus() -> list[str]:
    """The NVIDIA GPUs that this process may use, in CUDA's order: numbers, or UUIDs."""
    files = [path.name.removeprefix("nvidia") for path in FILES.glob("nvidia[0-9]*")]
    here, visible = sorted(files, key=int), environment.visible_gpus()
    if visible is None or not here:
        return here
    return [here[int(n)] if n.isdigit() and int(n) < len(here) else n for n in visible]


def taken() -> list[str]:
    """The devices that a model of this process is computed on: `cpu`, or some of `gpus()`.

    All of these where the model is spread or several processes share the work.
    """
    device, here = environment.device(), gpus()
    if device == CPU or not here:
        return [CPU]
    if device.startswith("balanced") or environment.processes() > 1:
        return here
    number = int(device.partition(":")[2] or 0)
    return here[number : number + 1] or [device]


def processor() -> str:
    """The processor's name where the system tells it, else its kind."""
    lines = CPU_INFO.read_text(encoding="utf-8").splitlines() if CPU_INFO.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
