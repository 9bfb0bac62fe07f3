"""Peak memory of reading, sampling and DPO, from a model's shape: known before anything is loaded.

Without a GPU it is the resident memory of the step's process, with one that of the card. It is the
weights, what a pass keeps at once, and the libraries; coefficients of a pass are counted in
core.models.extraction, core.models.generation and core.intervention.training.packed_pass, the rest
is measured (docs/experiments/memory.md). Loads neither torch nor a model.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from core import environment
from core.models.folder import ModelFolder

CPU_STREAM = 2 << 20  # bytes of the stream of one pass on a CPU
CPU_BUDGET = (2048, 4096)  # tokens, least and most: near the best of all that was measured
GPU_BUDGET = 32768
TOKENS_PER_FORWARD = 32_768  # of a training; larger batches are split
ACTIVATIONS = 1 << 30  # bytes that a training's pass may keep on a CPU: nothing is checkpointed
ROWS = 1024  # completions that are sampled at once, at most
CPU_CACHE_BYTES = 256 << 20  # their keys and values; larger ones fall out of a CPU's caches
SHARD_TOKENS = (8192, 1 << 20)  # least and most in one shard of an index
SHARDS = 32  # aimed at between those bounds
LOGITS = 1 << 24  # that exist at once in a training on a CPU
ITEMSIZE = {"float32": 4, "bfloat16": 2, "float16": 2}
MEANS = 28  # bytes per number of a shard's means: lists, stacks and differences in float32
LOADED = {
    "index": 0.52e9,
    "generate": 0.5e9,
    "train": 0.62e9,
}  # bytes of a process with its libraries


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder: widths of the stream, of the MLP, of all query and all key heads."""

    blocks: int
    d_model: int
    mlp: int
    heads: int
    keys: int
    vocabulary: int
    tied: bool
    parameters: int
    adapted: bool = False  # low-rank updates are added to all of it before it is cut

    @classmethod
    def of(cls, folder: Path | str) -> "Shape":
        """That of a model folder; of an adapter, its base's."""
        model = ModelFolder.of(folder)
        config: dict[str, Any] = model.config
        config = {**config, **(config.get("text_config") or {})}
        width, heads = config["hidden_size"], config.get("num_attention_heads") or 1
        per_head = config.get("head_dim") or width // heads
        kind = str(config.get("dtype") or config.get("torch_dtype") or "float32")
        size = sum(file.stat().st_size for file in model.base.weights)
        return cls(
            blocks=config["num_hidden_layers"],
            d_model=width,
            mlp=config.get("intermediate_size") or 4 * width,
            heads=per_head * heads,
            keys=per_head * (config.get("num_key_value_heads") or heads),
            vocabulary=config.get("vocab_size") or 0,
            tied=bool(config.get("tie_word_embeddings")),
            parameters=size // ITEMSIZE.get(kind, 4),
            adapted=model.is_adapter,
        )

    @property
    def embeddings(self) -> int:
        """Parameters of the embeddings alone."""
        return self.vocabulary * self.d_model

    @property
    def kept_per_token(self) -> int:
        """Numbers that a Llama block keeps of a token until the backward pass."""
        return 11 * self.d_model + 4 * self.mlp

    def first(self, blocks: int) -> int:
        """Parameters of the embeddings and the first `blocks` blocks."""
        if self.adapted:
            return self.parameters
        inside = self.parameters - self.embeddings * (1 if self.tied else 2)
        return self.embeddings + inside * blocks // self.blocks


def free_bytes() -> int:
    """Free memory where models are computed: of the card, or of this machine without one."""
    if environment.taken() == [environment.CPU]:
        return int(psutil.virtual_memory().available)
    import torch

    return int(torch.cuda.mem_get_info()[0])


def index_bytes(
    shape: Shape, *, dtype: str, layers: int, deepest: int, pairs: int, tokens_per_pair: float
) -> float:
    """Of an index that keeps `layers` layers, the deepest of which is `deepest`.

    A pass has the widest of a block's states and the streams that are kept; a shard's means are in
    memory until it is written.
    """
    size, gpu = ITEMSIZE[dtype], _on_gpu()
    most = GPU_BUDGET if gpu else min(max(CPU_STREAM // (shape.d_model * size), 2048), 4096)
    total = pairs * tokens_per_pair
    tokens = min(total, max(most, tokens_per_pair))
    states = max(
        2 * shape.mlp + 3 * shape.d_model, shape.d_model + 6 * shape.heads + 4 * shape.keys
    )
    numbers = states + 2 * (shape.heads + shape.keys) + layers * shape.d_model
    passing = tokens * (numbers * size + 4 * shape.d_model)
    weights = size * shape.first(deepest)
    if gpu:
        return weights + passing
    in_shard = min(max(total / SHARDS, SHARD_TOKENS[0]), SHARD_TOKENS[1]) / tokens_per_pair
    means = min(pairs, in_shard) * layers * shape.d_model * MEANS
    return LOADED["index"] + weights + passing + means


def sampling_bytes(shape: Shape, *, dtype: str, completions: int, tokens: float) -> float:
    """Of sampling `completions` of `tokens` each with their prompts."""
    size, gpu = ITEMSIZE[dtype], _on_gpu()
    cached = 2 * shape.blocks * shape.keys * size * tokens
    budget = free_bytes() // 4 if gpu else CPU_CACHE_BYTES
    rows = min(completions, ROWS, max(1, budget // cached))
    logits = rows * shape.vocabulary * (size + 3 * 4)
    prompts = rows * tokens * size * (2 * shape.mlp + 6 * shape.d_model)
    return (
        (0 if gpu else LOADED["generate"])
        + size * shape.parameters
        + rows * cached
        + max(logits, prompts)
    )


def dpo_bytes(
    shape: Shape, *, batch: int, longest: int, low_rank: int = 0, bfloat16: bool = False
) -> float:
    """Of DPO with batches of `batch` pairs whose longer text has `longest` tokens, at most.

    `low_rank`: numbers of low-rank updates that are trained in place of all weights.
    """
    gpu, n = _on_gpu(), shape.parameters
    trained = low_rank or n
    weights = (2 if bfloat16 and low_rank else 4) * n + 12 * trained
    per_token = shape.blocks * shape.kept_per_token * 4
    kept = TOKENS_PER_FORWARD if gpu else ACTIVATIONS // per_token
    tokens = min(2 * longest * batch, max(2 * longest, min(TOKENS_PER_FORWARD, kept)))
    if gpu:  # inputs of every block, one block computed again, casts of all weights
        passing = tokens * 4 * (shape.blocks * shape.d_model + shape.kept_per_token)
        return weights + passing + (2 * n if bfloat16 else 0)
    head = 0 if low_rank else 4 * shape.embeddings
    return LOADED["train"] + weights + tokens * per_token + head + 12 * LOGITS


def _on_gpu() -> bool:
    return environment.taken() != [environment.CPU]
