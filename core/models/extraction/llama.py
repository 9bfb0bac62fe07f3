"""Decoder blocks of the Llama family in our own code, faster for small models.

    q, k, v = W x;  x ← x + W attention(rotate(q), rotate(k), v);  x ← x + W (act(W x) · W x)

with RMS norms before each part (Llama, Mistral, Qwen) or after it (OLMo 2), and over queries and
keys where the family has them. It is the library's arithmetic in fewer passes over memory: on
models of a few hundred dimensions the library's own blocks spend more time on norms and rotary
embeddings than on products. The first block's projections depend on a token's id alone, so they
are computed once per id of a batch. Packed tokens are (token, d_model). Weights, settings and
angles are the library's; every family named here is tested for equality with it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import rms_norm

from core.models.devices import is_spread
from core.models.extraction.attention import Tiles

States = tuple[Tensor, Tensor, Tensor]  # queries, keys, values

FAMILIES = {"olmo2", "llama", "mistral", "qwen2", "qwen3"}


def supports(model: Any) -> bool:
    """Whether a model has such blocks, with all weights on one device."""
    return model.config.model_type in FAMILIES and not is_spread(model)


def streams(
    model: Any, ids: Tensor, position: Tensor, tiles: Tiles, layers: Sequence[int]
) -> dict[int, Tensor]:
    """The residual stream at each of `layers`, (token, d_model), of the packed tokens `ids`."""
    base = model.base_model
    stream = base.embed_tokens(ids)
    angles = Angles(*base.rotary_emb(stream[None], position_ids=position[None]))
    recorded = {0: stream}
    for number, block in enumerate(base.layers[: max(layers)]):
        states = _projected(block, stream) if number else _by_id(block, stream, ids)
        stream = _block(block, stream, states, angles, tiles)
        if number + 1 in layers:
            recorded[number + 1] = stream
    return {layer: recorded[layer] for layer in layers}


class Angles:
    """Cosines and sines of every token, (token, d_head), repeated for as many heads as asked."""

    def __init__(self, cosine: Tensor, sine: Tensor) -> None:
        half = sine.shape[-1] // 2
        self._cosine = cosine[0]
        self._sine = torch.cat((-sine[0, :, :half], sine[0, :, half:]), dim=-1)
        self._repeated: dict[int, tuple[Tensor, Tensor]] = {}

    def rotate(self, states: Tensor) -> Tensor:
        """Rotary embedding of (token, head · d_head): x cos θ + (−x₂, x₁) sin θ."""
        d_head = self._cosine.shape[-1]
        heads = states.shape[-1] // d_head
        if heads not in self._repeated:
            parts = (self._cosine.to(states.dtype), self._sine.to(states.dtype))
            self._repeated[heads] = tuple(part.repeat(1, heads) for part in parts)  # type: ignore[assignment]
        cosine, sine = self._repeated[heads]
        halves_swapped = states.view(-1, d_head).roll(d_head // 2, 1).view_as(states)
        return (states * cosine).addcmul_(halves_swapped, sine)


def _projected(block: Any, stream: Tensor) -> States:
    """Queries, keys and values before rotation, (token, head · d_head) each."""
    attention = block.self_attn
    x = _norm(block.input_layernorm, stream, keep=True) if _norms_first(block) else stream
    query, key = attention.q_proj(x), attention.k_proj(x)
    if hasattr(attention, "q_norm"):
        query, key = _norm(attention.q_norm, query), _norm(attention.k_norm, key)
    return query, key, attention.v_proj(x)


def _by_id(block: Any, stream: Tensor, ids: Tensor) -> States:
    """`_projected` of the first block, where tokens with one id have equal rows."""
    unique, place = torch.unique(ids, return_inverse=True)
    if 2 * len(unique) > len(ids):  # copying the rows would cost what it saves
        return _projected(block, stream)
    # any row of an id serves: before the first block they are equal
    row = torch.empty_like(unique).scatter_(0, place, torch.arange(len(ids), device=ids.device))
    query, key, value = (part.index_select(0, place) for part in _projected(block, stream[row]))
    return query, key, value


def _norms_first(block: Any) -> bool:
    return hasattr(block, "input_layernorm")


def _block(block: Any, stream: Tensor, states: States, angles: Angles, tiles: Tiles) -> Tensor:
    """One decoder block, with norms before its two parts or after them."""
    attended = _attention(block.self_attn, states, angles, tiles)
    if _norms_first(block):
        stream = attended.add_(stream)
        normed = _norm(block.post_attention_layernorm, stream, keep=True)
        return _mlp(block.mlp, normed).add_(stream)
    stream = _norm(block.post_attention_layernorm, attended).add_(stream)
    return _norm(block.post_feedforward_layernorm, _mlp(block.mlp, stream)).add_(stream)


def _attention(attention: Any, states: States, angles: Angles, tiles: Tiles) -> Tensor:
    query, key, value = states
    heads = (-1, attention.head_dim)
    attended = tiles.attend(
        angles.rotate(query).unflatten(1, heads),
        angles.rotate(key).unflatten(1, heads),
        value.unflatten(1, heads),
        scaling=attention.scaling,
        window=_window(attention),
    )
    return attention.o_proj(attended.flatten(1))


def _window(attention: Any) -> int | None:
    """The sliding window; Mistral has it in the configuration only."""
    if hasattr(attention, "sliding_window"):
        return attention.sliding_window
    return getattr(attention.config, "sliding_window", None)


def _mlp(mlp: Any, x: Tensor) -> Tensor:
    return mlp.down_proj(mlp.act_fn(mlp.gate_proj(x)).mul_(mlp.up_proj(x)))


def _norm(norm: Any, x: Tensor, *, keep: bool = False) -> Tensor:
    """RMS norm over all features, or over each head's where the weight is one head's.

    On a CPU it is computed in float32, and overwrites a float32 `x` without `keep`.
    """
    width = norm.weight.shape[0]
    parts = x.view(-1, width)
    if x.device.type != "cpu":
        return rms_norm(parts, (width,), norm.weight, norm.variance_epsilon).view_as(x)
    # the library's operation takes 1.4–2 times as long, in bfloat16 too
    parts = parts.to(torch.float32, copy=keep)
    length = torch.linalg.vector_norm(parts, dim=-1, keepdim=True)
    scale = length.square_().div_(width).add_(norm.variance_epsilon).rsqrt_()
    return parts.mul_(scale).mul_(norm.weight.float()).view_as(x).to(x.dtype)
