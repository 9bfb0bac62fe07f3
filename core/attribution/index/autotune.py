"""Measuring the fastest token budget on this device, cached in the workspace.

Caches, kernels and the model's shape decide it, by up to a fifth of the time, and no rule predicts
them (docs/experiments/extraction_speed.md). So before a large index some of its pairs are read with
each candidate in turn, through the first blocks. The winner serves every later index of such a
model on such a device. A budget changes the last digits of vectors, so it is chosen before the
manifest is written, which fixes it for all who compute the index and for every restart. A small
index uses the rule, whatever was measured, and so has the same bytes in every workspace of a
machine.
"""

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

from core.attribution.index.build import items_of, read_tokens
from core.attribution.index.layout import Manifest, read_pair_list
from core.attribution.index.plan import LENGTHS
from core.models.devices import device_name, pick_device
from core.models.extraction.activations import segment_means
from core.models.extraction.batch import Prompted
from core.models.loading import load_model, on_cores, read_config
from core.runs.progress import Report
from core.storage.atomic import sweep, write_atomic

SHARE = 0.01  # of an index's work that measuring may cost
ROUNDS = 3
BLOCKS = 4  # of the model that are used, at most: the order is the same for all
PLACES = 4  # parts of the index that pairs are taken from
GAIN = 0.97  # share of the rule's time that another budget must stay below


def best_budget(
    folder: Path,
    planned: Manifest,
    model: Path,
    candidates: Sequence[int],
    cache: Path,
    progress: Report,
) -> int:
    """Tokens in one forward pass for an index planned in `folder` with the rule's budget.

    `cache` is the file of earlier measurements: overwritten if it cannot be read, and if it cannot
    be written, the next index measures again.
    """
    budgets = sorted({planned.budget, *candidates})
    if not _is_worth_it(planned, budgets):
        return planned.budget
    key, measured = _key(model, planned.dtype), _read(cache)
    if measured.get(key) not in budgets:
        loaded = load_model(model, dtype=planned.dtype, blocks=_blocks(planned))
        items = _sample(folder, planned, max(budgets))
        measured[key] = fastest(loaded.model, items, budgets, planned.budget, progress)
        with suppress(OSError):
            sweep(cache.parent, f"{cache.name}.*")
            write_atomic(cache, json.dumps(measured, indent=1) + "\n")
    return measured[key]


def fastest(
    model: Any, items: Sequence[Prompted], budgets: Sequence[int], rule: int, progress: Report
) -> int:
    """The budget with the least time; the rule's unless another is clearly faster."""
    layers = [model.config.num_hidden_layers]
    clock = time.process_time if model.device.type == "cpu" else time.perf_counter
    seconds = dict.fromkeys(budgets, float("inf"))
    tries = [rule, *(budget for _, budget in product(range(ROUNDS), budgets))]
    with on_cores(1):
        for number, budget in enumerate(tries):
            progress(number, len(tries))
            start = clock()
            segment_means(model, items, layers, budget=budget)
            if number:  # the first pass warms up
                seconds[budget] = min(seconds[budget], clock() - start)
    best = min(budgets, key=seconds.__getitem__)
    return best if seconds[best] < GAIN * seconds[rule] else rule


def _is_worth_it(planned: Manifest, budgets: Sequence[int]) -> bool:
    """Whether measuring costs at most its share, both in tokens through a block."""
    cost = max(budgets) * (1 + ROUNDS * len(budgets)) * _blocks(planned)
    work = sum(shard.tokens for shard in planned.shards) * max(planned.layers)
    return 0 < cost <= SHARE * work


def _blocks(planned: Manifest) -> int:
    return min(BLOCKS, max(planned.layers))


def _sample(folder: Path, planned: Manifest, tokens: int) -> list[Prompted]:
    """About `tokens` tokens, as the index will read them, from some of its shards."""
    pairs, ids = read_pair_list(folder), read_tokens(folder)
    items: list[Prompted] = []
    for shard in planned.shards[:: -(-len(planned.shards) // PLACES)]:
        listed = pairs.iloc[shard.start : shard.stop]
        before = listed[list(LENGTHS)].sum(axis=1).cumsum().shift(fill_value=0)
        items += items_of(listed[before < tokens / PLACES], ids)[0]
    return items


def _key(model: Path, dtype: str) -> str:
    """What the fastest budget depends on: device, arithmetic, shape."""
    config = read_config(model)
    names = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")
    shape = " ".join(str(getattr(config, name, "-")) for name in names)
    return f"{device_name(pick_device('auto'))}, {dtype}, {config.model_type} {shape}"


def _read(path: Path) -> dict[str, Any]:
    try:
        measured = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return measured if isinstance(measured, dict) else {}
