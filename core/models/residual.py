"""The residual stream, read and written by hooks.

Layer l is the input of decoder block l: Hugging Face's `hidden_states[l]`, 0 being the embeddings.
The last entry of `hidden_states` is not a layer here: it has been through the final norm, so no
block reads it and nothing can steer it. A model loaded with only its first k blocks has no final
norm, and its layer k can be read too.

Every hook is a pre-hook on the block that reads the layer: it needs no ±1, covers layer 0, works
through `generate`, and does not depend on whether blocks return tensors or tuples. What is written
does not appear in `output_hidden_states`, which is collected elsewhere.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from core.models.loading import NORMS

BLOCKS = ("layers", "h")


def decoder_blocks(model: Any) -> nn.ModuleList:
    """The decoder blocks of a causal language model, first to last."""
    base = model.base_model
    for name in BLOCKS:
        if isinstance(getattr(base, name, None), nn.ModuleList):
            return getattr(base, name)
    raise ValueError(f"{type(model).__name__}: decoder blocks are not under any of {BLOCKS}")


def block_reading(model: Any, layer: int) -> nn.Module:
    """The module whose input is the residual stream at `layer`."""
    blocks = decoder_blocks(model)
    if layer == len(blocks) and (end := _open_end(model)) is not None:
        return end
    if not 0 <= layer < len(blocks):
        raise ValueError(f"layer {layer} is not one of 0..{len(blocks) - 1}")
    return blocks[layer]


@contextmanager
def recording(model: Any, layers: Iterable[int]) -> Iterator[dict[int, Tensor]]:
    """Collect the stream at several layers, (batch, token, d_model) each, in every forward pass.

    The dictionary holds the latest pass; the tensors are the model's own, not copies.
    """
    recorded: dict[int, Tensor] = {}

    def keep(layer: int) -> Callable[[Tensor], Tensor]:
        def read(hidden: Tensor) -> Tensor:
            recorded[layer] = hidden
            return hidden

        return read

    with ExitStack() as hooks:
        for layer in layers:
            hooks.enter_context(_rewriting(model, layer, keep(layer)))
        yield recorded


@contextmanager
def steering(model: Any, layer: int, vector: Tensor, coefficient: float) -> Iterator[None]:
    """Add `coefficient * vector`, (d_model,), to the stream at `layer`, at every token."""
    with _rewriting(model, layer, lambda hidden: hidden + coefficient * vector.to(hidden)):
        yield


@contextmanager
def projecting_out(model: Any, layer: int, vector: Tensor) -> Iterator[None]:
    """Remove the component along `vector`, (d_model,), from every token's stream at `layer`."""
    if not torch.linalg.vector_norm(vector) > 0:
        raise ValueError("a zero vector has no direction to project out")
    unit = vector.float() / torch.linalg.vector_norm(vector.float())

    def remove(hidden: Tensor) -> Tensor:
        along = unit.to(hidden)
        return hidden - (hidden @ along)[..., None] * along

    with _rewriting(model, layer, remove):
        yield


@contextmanager
def _rewriting(model: Any, layer: int, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            return (change(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": change(kwargs["hidden_states"])}

    handle = block_reading(model, layer).register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _open_end(model: Any) -> nn.Module | None:
    """The identity in place of the final norm, if the model was loaded without one."""
    base = model.base_model
    ends = [getattr(base, name) for name in NORMS if hasattr(base, name)]
    return ends[0] if ends and isinstance(ends[0], nn.Identity) else None
