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

ITEMSIZE = {"float32": 4, "bfloat16": 2, "float16": 2}
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
