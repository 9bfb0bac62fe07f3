"""Device, arithmetic and batch size: chosen by hardware unless somebody sets them.

The device is a matter of the machine: it comes from `$PAIRTRACE_DEVICE` (core.environment) and has
no part in a run's id. The arithmetic changes results, so it is a setting of the specs. Both are
refused here, in words, where this machine cannot do them. A model that is too large for one device
is spread: its blocks are divided over the GPUs, then main memory, then its files, from which they
are fetched block by block in every pass.

The token budget is how many tokens go through a model at once. Results do not depend on it beyond
rounding. The rule here keeps within what fits; what is fastest depends on caches and kernels too,
so core.attribution.index.autotune measures it.
"""

import ctypes
import sys
from functools import lru_cache
from typing import Any

import torch

from core import environment
from core.environment import processor
from core.errors import UserError
from core.models.memory import CPU_BUDGET, CPU_STREAM, GPU_BUDGET

SPREAD = "balanced"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

CPU_BUDGETS = (512, 1024, 2048, 4096, 8192)
GPU_BUDGETS = (8192, 16384, GPU_BUDGET, 65536)
GPU_LEAST = 2048
GPU_SHARE = 0.25  # of the free memory: copies for attention are not counted, nor fragments

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3  # mallopt's parameters, from malloc.h
KEPT = 1 << 30  # bytes of free heap that are not given back
LARGEST = 32 << 20  # bytes of the largest block taken from the heap; glibc allows no more
GROWN, USUAL = 512 << 20, 128 << 10  # bytes that the heap grows by: once here, and by default
HUGE_PAGE, ADVISE_HUGE_PAGES = 2 << 20, 14  # bytes; MADV_HUGEPAGE, from mman.h


def pick_device(device: str) -> torch.device:
    """A device of this machine: cpu, cuda or cuda:N.

    `auto` is the one that `$PAIRTRACE_DEVICE` names, else the GPU where there is one; where models
    are to be spread, the one that they begin on. Each process of a launch has a GPU of its own.
    """
    name = environment.device() if device == "auto" else device
    devices = _devices()
    if name in ("auto", "cuda") and environment.processes() > 1 and len(devices) > 1:
        return torch.device(f"cuda:{environment.local_rank() % (len(devices) - 1)}")
    if name == "auto" or name.startswith(SPREAD):
        return torch.device("cuda" if len(devices) > 1 else "cpu")
    if name not in devices and not (name == "cuda" and len(devices) > 1):
        raise UserError(f"device {name!r} is not on this machine. There is {', '.join(devices)}.")
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
    """Arguments of `from_pretrained` that spread a model, if the device says so; else empty."""
    name = environment.device() if device == "auto" else device
    if not name.startswith(SPREAD):
        return {}
    size = name.partition(":")[2]
    places = [*range(len(_devices()) - 1), "cpu"]
    return {"device_map": SPREAD, "max_memory": dict.fromkeys(places, size) if size else None}


def is_spread(model: Any) -> bool:
    """Whether some weights are elsewhere than where the model begins."""
    return bool(_places(model))


def computes_on_several(model: Any) -> bool:
    """Whether blocks are computed on different GPUs: what is kept elsewhere is moved to one."""
    return len(_places(model) - {"cpu", "disk"}) > 1


def is_offloaded(model: Any) -> bool:
    """Whether some weights are in main memory or in files until they are used."""
    return bool(_places(model) & {"cpu", "disk"})


def device_name(device: torch.device) -> str:
    """The name of the processor or the GPU."""
    return str(torch.cuda.get_device_name(device)) if device.type == "cuda" else processor()


def in_words(dtype: torch.dtype) -> str:
    """As specs name it, such as `float32`."""
    return str(dtype).removeprefix("torch.")


def token_budget(
    device: torch.device, config: Any, dtype: torch.dtype, *, n_layers: int = 1, weights: int = 0
) -> int:
    """Tokens in one forward pass that reads `n_layers`, by the rule.

    `weights` are the bytes of a model that is still to be loaded.
    """
    if device.type == "cpu":
        least, most = CPU_BUDGET
        return min(max(CPU_STREAM // (config.hidden_size * dtype.itemsize), least), most)
    return min(GPU_BUDGET, _most(device, config, dtype, n_layers, weights))


def candidates(
    device: torch.device, config: Any, dtype: torch.dtype, *, n_layers: int = 1, weights: int = 0
) -> tuple[int, ...]:
    """Budgets that fit and may be faster than the rule's."""
    if device.type == "cpu":
        return CPU_BUDGETS
    most = _most(device, config, dtype, n_layers, weights)
    return tuple(budget for budget in GPU_BUDGETS if budget <= most)


def tokens_that_fit(memory: float, config: Any, itemsize: int, n_layers: int) -> int:
    """Tokens whose states in one block and streams at `n_layers` take a share of `memory` bytes."""
    width = config.hidden_size
    inner = getattr(config, "intermediate_size", None) or 4 * width
    token = itemsize * (8 * width + 3 * inner + n_layers * width) + 4 * width  # means: float32
    return max(int(memory * GPU_SHARE / token), GPU_LEAST)


@lru_cache(maxsize=1)
def keep_freed_memory() -> bool:
    """Tune glibc's malloc: no trimming, huge pages; False where that is not possible.

    Each forward pass allocates and frees the same megabytes. By default glibc returns them to the
    system and every page costs a fault on its next use: 10–20% of extraction's CPU time on small
    models, and pages of 4 kB another 4–7%. `$GLIBC_TUNABLES` does the same, but glibc reads it when
    a process starts, and a command typed in a terminal has started by then.
    """
    libc = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    set_option = getattr(libc, "mallopt", None)
    if libc is None or set_option is None:
        return False
    if not all([set_option(MMAP_THRESHOLD, LARGEST), set_option(TRIM_THRESHOLD, KEPT)]):
        return False
    set_option(TOP_PAD, GROWN)
    libc.malloc.restype = libc.sbrk.restype = ctypes.c_void_p
    before = libc.sbrk(0)  # let the heap grow, by addresses only, and ask for huge pages there
    libc.free(ctypes.c_void_p(libc.malloc(ctypes.c_size_t(LARGEST - HUGE_PAGE))))
    start, end = -(-before // HUGE_PAGE) * HUGE_PAGE, libc.sbrk(0)
    if end > start:
        libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), ADVISE_HUGE_PAGES)
    return bool(set_option(TOP_PAD, USUAL))


def _most(
    device: torch.device, config: Any, dtype: torch.dtype, n_layers: int, weights: int
) -> int:
    free: int = torch.cuda.mem_get_info(device)[0]
    return tokens_that_fit(free - weights, config, dtype.itemsize, n_layers)


def _places(model: Any) -> set[Any]:
    return {*(getattr(model, "hf_device_map", None) or {}).values()}


def _devices() -> list[str]:
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return ["cpu", *(f"cuda:{number}" for number in range(gpus))]
