"""LoRA gradients: low-rank updates of the linear layers, at initialisation.

LoRA (arXiv 2106.09685) adds x·Aᵀ·Bᵀ to what a linear layer makes of x, with A random and B = 0.
There the gradient in A is zero, because A's effect passes through B, and the gradient in B is
∇W·Aᵀ: the layer's own gradient, of whose input directions only `rank` random combinations are
seen. So only B is returned. Scaling by alpha / rank is left out: one factor on every gradient.

Forward hooks add the updates and are removed when the context ends. Needs torch.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from core.models.residual import decoder_blocks

RANK = 16  # the default of low-rank training, too


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
