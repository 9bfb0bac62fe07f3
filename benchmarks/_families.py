"""Extraction against the published loop, on a small random model of every common family.

Blocks of 128 dimensions are dominated by calls, not by products, so the ratios are not those of
large models: they show which families have a slow path. Families with a sliding window have one of
64 tokens here, so that it matters.
"""

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from benchmarks._loop import datapoints, paired_cosines, published_loop, random_items, timed
from core.models.loading import cut

BLOCKS, WIDTH, VOCABULARY = 4, 128, 4096
PAIRS, ROUNDS = 40, 3
LAYER = BLOCKS - 1
SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "intermediate_size": 4 * WIDTH,
    "num_hidden_layers": BLOCKS,
    "num_attention_heads": 4,
    "max_position_embeddings": 2048,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 1,
}
GROUPED = {"num_key_value_heads": 2, "head_dim": 32}
FAMILIES: dict[str, dict[str, Any]] = {
    "olmo2": {},
    "olmo3": {"sliding_window": 64},
    "llama": GROUPED,
    "qwen2": {"num_key_value_heads": 2},
    "qwen3": GROUPED,
    "mistral": GROUPED | {"sliding_window": 64},
    "gemma2": GROUPED | {"sliding_window": 64},
    "gemma3_text": GROUPED | {"sliding_window": 64},
    "gpt_neox": {},
    "phi": {},
}


def families() -> list[dict[str, Any]]:
    """One row per family: CPU-seconds of both, their ratio, and the minimum cosine.

    Both read the same pairs in turn; the fastest of `ROUNDS` counts.
    """
    items = random_items(PAIRS, vocabulary=VOCABULARY)
    rows = []
    for family, settings in FAMILIES.items():
        full, truncated = _model(family, settings), cut(_model(family, settings), LAYER)
        datapoints(truncated, items[:5], LAYER)  # warm-up
        seconds: dict[str, list[float]] = {"ours": [], "loop": []}
        for _ in range(ROUNDS):
            took, vectors = timed(lambda m=truncated: datapoints(m, items, LAYER))
            seconds["ours"].append(took)
            took, expected = timed(lambda m=full: published_loop(m, items, LAYER))
            seconds["loop"].append(took)
        ours, loop = min(seconds["ours"]), min(seconds["loop"])
        rows.append(
            {
                "family": family,
                "cpu_seconds": round(ours, 3),
                "loop_cpu_seconds": round(loop, 3),
                "times_faster": round(loop / ours, 2),
                "min_cosine": round(float(paired_cosines(vectors, expected).min()), 10),
            }
        )
    return rows


def _model(family: str, settings: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **(SHAPE | settings))
    return AutoModelForCausalLM.from_config(config).eval()
