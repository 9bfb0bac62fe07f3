"""How many tokens go through a model at once: by a rule, within what fits a GPU's memory.

Results do not depend on it beyond rounding. What is fastest depends on caches and kernels too:
core.attribution.index.autotune asks the machine.
"""

from typing import Any

import torch

CPU_STREAM = 2 << 20  # bytes of the stream of one pass on a CPU
CPU_BUDGET = (2048, 4096)  # tokens, least and most: near the best of all that was measured
CPU_BUDGETS = (512, 1024, 2048, 4096, 8192)
GPU_BUDGET = 32768
GPU_BUDGETS = (8192, 16384, GPU_BUDGET, 65536)
GPU_LEAST = 2048
GPU_SHARE = 0.25  # of the free memory: copies for attention are not counted, nor fragments


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
    """Budgets that may be faster than the rule's, and fit."""
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


def _most(
    device: torch.device, config: Any, dtype: torch.dtype, n_layers: int, weights: int
) -> int:
    free: int = torch.cuda.mem_get_info(device)[0]
    return tokens_that_fit(free - weights, config, dtype.itemsize, n_layers)
