"""Peak memory of reading, sampling and DPO, from a model's shape: known before anything is loaded.

Without a GPU it is the resident memory of the step's process, with one that of the card. It is the
weights, what a pass keeps at once, and the libraries; coefficients of a pass are counted in
core.models.extraction, core.models.generation and core.intervention.training.packed_pass, the rest
is measured (docs/experiments/memory.md). Loads neither torch nor a model.
"""

import re
import resource
from dataclasses import dataclass
from pathlib import Path

import psutil

from core import environment
from core.models.folder import ModelFolder

CPU_STREAM = 2 << 20  # bytes of the stream of one pass on a CPU
CPU_BUDGET = (2048, 4096)  # tokens, least and most: near the best of all that was measured
GPU_BUDGET = 32768
TOKENS_PER_FORWARD = 32_768  # of a training; larger batches are split, gradients accumulated
ACTIVATIONS = 1 << 30  # bytes that a training's pass may keep on a CPU: nothing is checkpointed
ROWS = 1024  # completions that are sampled at once, at most
CPU_CACHE_BYTES = 256 << 20  # their keys and values; larger ones fall out of a CPU's caches
SHARD_TOKENS = (8192, 1 << 20)  # least and most in one shard of an index
SHARDS = 32  # aimed at between those bounds
CHUNK = 1 << 24  # logits that exist at once in a training on a CPU: 64 MB
ITEMSIZE = {"float32": 4, "bfloat16": 2, "float16": 2}
MEANS = 28  # bytes per number of a shard's means: lists, stacks and differences in float32
HOLES = 0.3  # of what was freed before the peak: the heap keeps it, fitted
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
    stored: int = 4  # bytes of a weight in the files

    @classmethod
    def of(cls, folder: Path | str | ModelFolder) -> "Shape":
        """That of a model folder; of an adapter, its base's. Sizes that the settings lack are
        those of most models."""
        model = ModelFolder.of(folder).base
        config = model.config.get("text_config", model.config)

        def size(name: str, default: int = 1) -> int:
            value = config.get(name)
            return value if isinstance(value, int) and value > 0 else default

        width, heads = size("hidden_size"), size("num_attention_heads")
        per_head = size("head_dim", max(width // heads, 1))
        kind = str(config.get("dtype") or config.get("torch_dtype") or "float32")
        n_bytes = sum(file.stat().st_size for file in model.weights)
        return cls(
            blocks=size("num_hidden_layers"),
            d_model=width,
            mlp=size("intermediate_size", 4 * width),
            heads=per_head * heads,
            keys=per_head * size("num_key_value_heads", heads),
            vocabulary=size("vocab_size"),
            tied=bool(config.get("tie_word_embeddings")),
            parameters=n_bytes // (4 if kind == "float32" else 2),
            stored=4 if kind == "float32" else 2,
        )

    @property
    def bytes(self) -> int:
        """Size of the files."""
        return self.parameters * self.stored

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
        inside = self.parameters - self.embeddings * (1 if self.tied else 2)
        return self.embeddings + inside * blocks // self.blocks


def free_bytes() -> int:
    """Free memory where models are computed: of the card, or of this machine without one."""
    if environment.taken() == [environment.CPU]:
        return int(psutil.virtual_memory().available)
    import torch

    return int(torch.cuda.mem_get_info()[0])


def peak_bytes() -> int:
    """Highest allocation on the card since the last reset; without one, `peak_resident`."""
    if environment.taken() == [environment.CPU]:
        return peak_resident()
    import torch

    return int(torch.cuda.max_memory_allocated())


def peak_resident() -> int:
    """Highest resident memory of this process, in bytes.

    On Linux of this program alone: what getrusage counts begins with the process that started it.
    """
    status = Path("/proc/self/status")
    peak = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return 1024 * (int(peak[1]) if peak else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def index_bytes(
    shape: Shape,
    *,
    dtype: str,
    layers: int,
    deepest: int,
    pairs: int,
    tokens_per_pair: float,
    gpu: bool = False,
) -> float:
    """Of an index that keeps `layers` layers, the deepest of which is `deepest`.

    A pass has the widest of a block's states and the streams that are kept; a shard's means are in
    memory until it is written. While it is loaded, a model's files are mapped beside it. A model
    that is new is tested in float32 first, if it fits (core.attribution.selftest).
    """
    size = ITEMSIZE[dtype]
    least, most = CPU_BUDGET
    rule = min(max(CPU_STREAM // (shape.d_model * size), least), most)
    total = pairs * tokens_per_pair
    tokens = min(total, max(GPU_BUDGET if gpu else rule, tokens_per_pair))
    states = max(
        2 * shape.mlp + 3 * shape.d_model, shape.d_model + 6 * shape.heads + 4 * shape.keys
    )
    numbers = states + 2 * (shape.heads + shape.keys) + layers * shape.d_model
    passing = tokens * (numbers * size + 4 * shape.d_model)
    if gpu:
        return size * shape.first(deepest) + passing
    weights, mapped = ((n * shape.first(deepest)) for n in (size, shape.stored))
    in_shard = min(max(total / SHARDS, SHARD_TOKENS[0]), SHARD_TOKENS[1]) / tokens_per_pair
    means = min(pairs, in_shard) * layers * shape.d_model * MEANS
    reading = passing + means
    usual = weights + max(reading, mapped) + HOLES * min(reading, mapped)
    tested = 4 * shape.first(deepest) + mapped + HOLES * (weights + reading)
    return LOADED["index"] + (usual if dtype == "float32" else max(usual, tested))


def sampling_bytes(
    shape: Shape, *, dtype: str, prompts: int, rollouts: int, tokens: float, gpu: bool = False
) -> float:
    """Of sampling `rollouts` completions of each prompt, of `tokens` with it at most.

    Keys and values, and either the logits of a step or the states of the prompts.
    """
    size, completions = ITEMSIZE[dtype], prompts * rollouts
    cached = 2 * shape.blocks * shape.keys * size * tokens
    fit = completions if gpu else max(1, CPU_CACHE_BYTES // cached)
    rows = min(completions, ROWS, fit)
    logits = rows * shape.vocabulary * (size + 3 * 4)
    states = max(rows // rollouts, 1) * tokens * size * (2 * shape.mlp + 6 * shape.d_model)
    weights = size * shape.parameters
    if gpu:
        return weights + rows * cached + max(logits, states)
    mapped = shape.stored * shape.parameters
    sampling = 2 * rows * cached + max(logits, states)  # a cache grows by copying
    return LOADED["generate"] + weights + max(sampling, mapped)


def dpo_bytes(
    shape: Shape,
    *,
    batch: int,
    longest: int,
    low_rank: int = 0,
    bfloat16: bool = False,
    gpu: bool = False,
) -> float:
    """Of DPO with batches of `batch` pairs whose longer text has `longest` tokens, at most.

    `low_rank`: numbers of low-rank updates that are trained in place of all weights.
    """
    size = shape.parameters
    weights = (2 if bfloat16 and low_rank else 4) * size + 12 * (low_rank or size)
    per_token = shape.blocks * shape.kept_per_token * 4
    kept = TOKENS_PER_FORWARD if gpu else ACTIVATIONS // per_token
    fit = max(1, min(TOKENS_PER_FORWARD, kept) // (2 * longest))  # pairs; a divisor of the batch
    tokens = 2 * longest * max(n for n in range(1, batch + 1) if batch % n == 0 and n <= fit)
    if gpu:  # inputs of every block, one block computed again, casts of all weights
        passing = tokens * 4 * (shape.blocks * shape.d_model + shape.kept_per_token)
        return weights + passing + (2 * size if bfloat16 else 0)
    head = 0 if low_rank else 4 * shape.embeddings
    logits = 12 * min(CHUNK, tokens * shape.vocabulary)
    return LOADED["train"] + weights + tokens * per_token + head + logits
