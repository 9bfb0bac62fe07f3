"""Gradient baseline: inner products of a pair's DPO gradient with a behavior's margin gradient.

At the reference the gradient of the DPO loss of a pair is −β/2 · ∇(log p(chosen) − log p(rejected))
(arXiv 2305.18290, eq. 7, with policy = reference). So a small step on pair d changes the margin
m_i = log p(policy's completion) − log p(reference's) of prompt i by lr · β/2 · ⟨∇m_i, ∇m_d⟩. The
score is that inner product's cosine (LESS, arXiv 2402.04333), of gradients that a seeded random
projection has shortened: of all parameters, of some blocks', or of low-rank updates. It is
expensive: one forward and backward pass per completion. Gradients can be kept in a folder:

    gradients.npy   (n, projected) float32, rows in the order of the pairs
    done.json       whose rows they are, how many are done and their CPU-seconds; written last
"""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from core.geometry import cosines
from core.models.residual import decoder_blocks
from core.runs.progress import Report
from core.storage.atomic import write_atomic
from core.storage.tables import new_mapped

RANK = 16  # the default of low-rank training, too
PROJECTED = 1024  # numbers kept of each gradient
CHUNK = 64  # rows written at once

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Contrast:
    """A prompt with the completion whose probability should rise, and the one that should fall."""

    prompt: Sequence[int]
    upper: Sequence[int]
    lower: Sequence[int]


def margin_gradients(
    model: Any,
    contrasts: Sequence[Contrast],
    *,
    projected: int | None = PROJECTED,
    blocks: Sequence[int] | None = None,
    rank: int | None = None,
    seed: int = 0,
    progress: Report | None = None,
) -> Floats:
    """∇(log p(upper) − log p(lower)) of each contrast, (n, projected).

    Over all parameters, or those of some decoder `blocks`; with a `rank`, over the factors B of
    low-rank updates of these blocks at B = 0 (`low_rank`). `projected` None
    keeps the whole gradient, (n, parameters).
    """
    with differentiated(model, blocks, rank, seed) as parameters:
        shorten = Projection(parameters, projected, seed)
        rows = []
        for contrast in contrasts:
            gradients = torch.autograd.grad(margin(model, contrast), parameters)
            rows.append(shorten(gradients).cpu().numpy())
    return np.array(rows, np.float32)


@contextmanager
def differentiated(
    model: Any, blocks: Sequence[int] | None = None, rank: int | None = None, seed: int = 0
) -> Iterator[list[Tensor]]:
    """The tensors to differentiate by; the last blocks alone cost less of the backward pass."""
    if rank is not None:
        with low_rank(model, rank=rank, blocks=blocks, seed=seed) as updates:
            yield [update.up for update in updates]
    else:
        parts = [model] if blocks is None else [decoder_blocks(model)[n] for n in blocks]
        yield [p for part in parts for p in part.parameters() if p.requires_grad]


def gradients_on_disk(
    folder: Path,
    key: str,
    model: Any,
    contrasts: Sequence[Contrast],
    *,
    projected: int = PROJECTED,
    blocks: Sequence[int] | None = None,
    rank: int | None = None,
    chunk: int = CHUNK,
    progress: Report | None = None,
) -> Floats:
    """`margin_gradients` of all contrasts, (n, projected), memory-mapped; computes missing rows.

    `key` must name the model, the contrasts and their order; shape, blocks and rank are added. Rows
    with another key, and damaged ones, are computed again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shape = (len(contrasts), projected)
    key = f"{key} {shape} {None if blocks is None else list(blocks)} {rank}"
    path, mark = folder / "gradients.npy", folder / "done.json"
    written_key, done, seconds = _read_mark(mark)
    if written_key != key or not _is_array(path, shape):
        done, seconds = 0, 0.0
    rows = np.lib.format.open_memmap(path, "r+") if done else new_mapped(path, shape)
    for start in range(done, len(contrasts), chunk):
        stop, began = min(start + chunk, len(contrasts)), time.process_time()
        rows[start:stop] = margin_gradients(
            model, contrasts[start:stop], projected=projected, blocks=blocks, rank=rank
        )
        rows.flush()
        seconds += time.process_time() - began
        write_atomic(mark, json.dumps({"key": key, "rows": stop, "cpu": seconds}))
        if progress is not None:
            progress(stop, len(contrasts))
    return rows


def cpu_seconds(folder: Path) -> float:
    """CPU-seconds that the gradients of a folder took so far; 0 if there are none."""
    return _read_mark(folder / "done.json")[2]


def mean_cosine(target: Sequence[Floats], rows: Sequence[Floats]) -> Floats:
    """Mean over checkpoints of cos(mean gradient of the behavior, gradient of each pair), (pair,).

    In [−1, 1]. `target` and `rows` have one array per checkpoint, (prompt, projected) and (pair,
    projected) (LESS, with equal weights). Away from the reference a pair's DPO gradient is its
    margin's times a positive number, which cosine drops.
    """
    values = [cosines(t.mean(axis=0)[None], r)[0] for t, r in zip(target, rows, strict=True)]
    mean: Floats = np.mean(values, axis=0)
    return mean


def margin(model: Any, contrast: Contrast) -> Tensor:
    """log p(upper) − log p(lower) given the prompt, in nats, summed over tokens."""
    upper, lower = (
        _log_prob(model, contrast.prompt, side) for side in (contrast.upper, contrast.lower)
    )
    return upper - lower


class Projection:
    """A random matrix of ±1 signs in hashed form: each coordinate is added to one of `size` sums.

    A count sketch (Charikar et al. 2002): inner products are kept in expectation, at the cost of
    one pass over the gradient, and the matrix needs two numbers per parameter.
    """

    def __init__(self, parameters: Sequence[Tensor], size: int | None, seed: int) -> None:
        self.size = size
        if size is None:
            return
        total = sum(p.numel() for p in parameters)
        device = parameters[0].device
        generator = torch.Generator().manual_seed(seed)
        self.place = torch.randint(size, (total,), generator=generator).to(device)
        self.sign = (torch.randint(2, (total,), generator=generator) * 2.0 - 1).to(device)

    def __call__(self, gradients: Sequence[Tensor]) -> Tensor:
        """One gradient, as tensors, to (size,)."""
        flat = torch.cat([g.reshape(-1).float() for g in gradients])
        if self.size is None:
            return flat
        return torch.zeros(self.size, device=flat.device).index_add_(
            0, self.place, flat * self.sign
        )


def _log_prob(model: Any, prompt: Sequence[int], completion: Sequence[int]) -> Tensor:
    device = next(model.parameters()).device
    ids = torch.tensor([[*prompt, *completion]], device=device)
    logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1].float()
    return -cross_entropy(logits, ids[0, len(prompt) :], reduction="sum")


def _is_array(path: Path, shape: tuple[int, int]) -> bool:
    """Whether a file can be mapped as float32 rows of a shape."""
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError):
        return False
    return bool(rows.shape == shape and rows.dtype == np.float32)


def _read_mark(path: Path) -> tuple[str, int, float]:
    """Key, rows and CPU-seconds of done.json; empty if the file is damaged or absent."""
    try:
        mark = json.loads(path.read_text(encoding="utf-8"))
        return str(mark["key"]), int(mark["rows"]), float(mark["cpu"])
    except (FileNotFoundError, KeyError, TypeError, ValueError, RecursionError):
        return "", 0, 0.0


class Update(NamedTuple):
    """The two factors that a linear layer's weights are updated by: up @ down."""

    layer: str
    down: Tensor  # A, (rank, in), fixed
    up: Tensor  # B, (out, rank), zero, requires a gradient


@contextmanager
def low_rank(
    model: Any, *, rank: int = RANK, blocks: Sequence[int] | None = None, seed: int = 0
) -> Iterator[list[Update]]:
    """Add an update to every linear layer of the decoder blocks, or of some `blocks`.

    LoRA (arXiv 2106.09685) adds x·Aᵀ·Bᵀ to what a linear layer makes of x, with A random and B = 0.
    There the gradient in A is zero, because A's effect passes through B, and the gradient in B is
    ∇W·Aᵀ: the layer's own gradient, of whose input directions only `rank` random combinations are
    seen. So only B is returned. Scaling by alpha / rank is left out: one factor on every gradient.

    A is uniform in ±1/√in, as peft starts it, and follows from `seed`, rank and the layers' order.
    Raises `ValueError` if no such block has a linear layer.
    """
    generator = torch.Generator().manual_seed(seed)
    with ExitStack() as hooks:
        updates = []
        for name, layer in linear_layers(model, blocks):
            down = 2 * torch.rand(rank, layer.in_features, generator=generator) - 1
            down = (down / layer.in_features**0.5).to(layer.weight)
            up = torch.zeros(layer.out_features, rank).to(layer.weight).requires_grad_()
            updates.append(Update(name, down, up))
            hooks.callback(layer.register_forward_hook(_adding(updates[-1])).remove)
        if not updates:
            raise ValueError(f"{type(model).__name__}: no torch.nn.Linear in blocks {blocks}")
        yield updates


def linear_layers(
    model: Any, blocks: Sequence[int] | None = None
) -> Iterator[tuple[str, nn.Linear]]:
    """Name, `block.name`, and module of each linear layer of all decoder blocks or of some."""
    for number, block in enumerate(decoder_blocks(model)):
        if blocks is None or number in blocks:
            for name, layer in block.named_modules():
                if isinstance(layer, nn.Linear):
                    yield f"{number}.{name}", layer


def _adding(update: Update) -> Any:
    def add(_layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output + inputs[0] @ update.down.T @ update.up.T

    return add
