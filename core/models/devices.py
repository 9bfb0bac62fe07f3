"""Where models are computed, and in which arithmetic: chosen by hardware unless somebody says.

A model that is too large for one device is spread: its blocks lie on several, evenly over the GPUs,
then in main memory, and the rest stays in its files. What lies nowhere near is brought, block by
block, in every pass.

Where is a matter of the machine, so it comes from `$PAIRTRACE_DEVICE` (core.environment) and
leaves no trace in what a run is called. The arithmetic changes results, so it is a knob of the
specs. Both are refused here, in words, where this machine cannot do them.
"""

from typing import Any

import torch

from core import environment
from core.environment import processor
from core.errors import UserError

SPREAD = "balanced"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_device(device: str) -> torch.device:
    """A device of this machine: cpu, cuda or cuda:N.

    `auto` is the one that `$PAIRTRACE_DEVICE` names, else the GPU where there is one; where models
    are to be spread, the one that they begin on.
    """
    name = environment.device() if device == "auto" else device
    here = _devices()
    if name == "auto" or name.startswith(SPREAD):
        return torch.device("cuda" if len(here) > 1 else "cpu")
    if name not in here and not (name == "cuda" and len(here) > 1):
        raise UserError(f"device {name!r} is not on this machine. There is {', '.join(here)}.")
    return torch.device(name)


def pick_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """One of `DTYPES`; `auto` is bfloat16 on a GPU and float32 on a CPU."""
    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if dtype == "float16" and device.type == "cpu":
        raise UserError(
            "float16 is for GPUs: on a CPU it is slow, and large activations overflow. Choose "
            "bfloat16, which is as small, or float32."
        )
    return DTYPES[dtype]


def spreading(device: str) -> dict[str, Any]:
    """What tells the library to spread a model, where `auto` means that; else empty."""
    name = environment.device() if device == "auto" else device
    if not name.startswith(SPREAD):
        return {}
    size = name.partition(":")[2]
    places = [*range(len(_devices()) - 1), "cpu"]
    return {"device_map": SPREAD, "max_memory": dict.fromkeys(places, size) if size else None}


def is_spread(model: Any) -> bool:
    """Whether some weights lie elsewhere than where the model begins."""
    return bool(_places(model))


def computes_on_several(model: Any) -> bool:
    """Whether blocks are computed on different GPUs: what is kept elsewhere is brought to one."""
    return len(_places(model) - {"cpu", "disk"}) > 1


def is_offloaded(model: Any) -> bool:
    """Whether some weights lie in main memory or in files until they are used."""
    return bool(_places(model) & {"cpu", "disk"})


def device_name(device: torch.device) -> str:
    """What people call a device: the processor's or the GPU's name."""
    return str(torch.cuda.get_device_name(device)) if device.type == "cuda" else processor()


def in_words(dtype: torch.dtype) -> str:
    """As specs name it, such as `float32`."""
    return str(dtype).removeprefix("torch.")


def _places(model: Any) -> set[Any]:
    return {*(getattr(model, "hf_device_map", None) or {}).values()}


def _devices() -> list[str]:
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return ["cpu", *(f"cuda:{number}" for number in range(gpus))]
