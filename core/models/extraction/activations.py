"""Mean residual streams of prompts and completions: forward passes in, float32 arrays out.

An item is one prompt with any number of completions: a pair, several pairs that share a prompt,
or rollouts. Common prefixes in a batch are computed once. Every layer asked for comes from the
same pass. Results do not depend on what else is in the batch, beyond rounding. Knows nothing of
files, labels or behaviors; what uses these arrays needs no torch.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import embedding_bag

from core.models.devices import computes_on_several, token_budget
from core.models.extraction.batch import Prompted, can_pack, packed_streams
from core.models.residual import recording

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Means:
    """Mean streams of n items: `context`, (n, layer, d_model), of their prompts, and `completion`,
    (m, layer, d_model), of all their completions in order."""

    context: Floats
    completion: Floats


def segment_means(
    model: Any,
    items: Sequence[Prompted],
    layers: Sequence[int],
    *,
    budget: int | None = None,
    packed: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Means:
    """Mean of the residual stream over each prompt and each completion, at each of `layers`.

    `budget` is the number of tokens in one forward pass (default: `token_budget`); not `packed`:
    one completion at a time, by the library's own attention, which is slow and must agree.
    `progress(done, total)` counts items. `ValueError` where a prompt or completion has no token.
    """
    for number, item in enumerate(items):
        if 0 in item.lengths:
            raise ValueError(f"item {number}: a prompt or completion without tokens has no mean")
    limit = budget or token_budget(
        next(model.parameters()).device, model.config, model.dtype, n_layers=len(layers)
    )
    means_of = _packed_means if packed and _packs(model) else _unpacked_means
    contexts, completions, done = [], [], 0
    with torch.inference_mode():
        for batch in batches(items, limit):
            for context, completion in means_of(model, batch, layers):
                contexts.append(context)
                completions.append(completion)
            done += len(batch)
            if progress is not None:
                progress(done, len(items))
    return Means(_stack(contexts, model, layers), _stack(completions, model, layers))


def segment_streams(
    model: Any, items: Sequence[Prompted], layers: Sequence[int], *, budget: int | None = None
) -> Iterator[list[Floats]]:
    """For each item, the stream of every token of its prompt, then of each of its completions.

    Each is (token, layer, d_model). The mean over a segment's tokens is that of `segment_means`.
    """
    limit = budget or token_budget(
        next(model.parameters()).device, model.config, model.dtype, n_layers=len(layers)
    )
    streams_of = _packed_streams if _packs(model) else _unpacked_streams
    for batch in batches(items, limit):
        with torch.inference_mode():
            streams = streams_of(model, batch, layers)
        for item in batch:
            yield [next(streams) for _ in item.lengths]


def batches(items: Sequence[Prompted], budget: int) -> Iterator[list[Prompted]]:
    """Consecutive items of at most `budget` tokens together, or one that is longer."""
    batch: list[Prompted] = []
    used = 0
    for item in items:
        length = sum(item.lengths)
        if batch and used + length > budget:
            yield batch
            batch, used = [], 0
        batch.append(item)
        used += length
    if batch:
        yield batch


BatchMeans = Iterator[tuple[Floats, Floats]]  # (item, layer, d_model), (completion, layer, d_model)


def _packed_means(model: Any, batch: list[Prompted], layers: Sequence[int]) -> BatchMeans:
    streams, segments = packed_streams(model, batch, layers)
    is_prompt = np.array([i == 0 for item in batch for i in range(len(item.lengths))])
    means = np.stack([_means(streams[layer], segments) for layer in layers], axis=1)
    yield means[is_prompt], means[~is_prompt]


def _unpacked_means(model: Any, batch: list[Prompted], layers: Sequence[int]) -> BatchMeans:
    """One forward pass per completion: correct for any architecture, and slow."""
    for item in batch:
        rows = []
        for streams in _passes(model, item, layers):
            n, places = len(item.prompt), range(len(streams[layers[0]]))
            segments = [part for part in (places[:n], places[n:]) if part]
            rows.append(np.stack([_means(streams[layer], segments) for layer in layers], axis=1))
        yield rows[0][:1], np.concatenate([row[1:] for row in rows])


def _packed_streams(model: Any, batch: list[Prompted], layers: Sequence[int]) -> Iterator[Floats]:
    streams, segments = packed_streams(model, batch, layers)
    rows = torch.stack([streams[layer].float().cpu() for layer in layers], dim=1).numpy()
    return (rows[segment] for segment in segments)


def _unpacked_streams(model: Any, batch: list[Prompted], layers: Sequence[int]) -> Iterator[Floats]:
    for item in batch:
        for number, streams in enumerate(_passes(model, item, layers)):
            rows = torch.stack([streams[layer].float().cpu() for layer in layers], dim=1).numpy()
            prompt, completion = np.split(rows, [len(item.prompt)])
            if number == 0:
                yield prompt
            if item.completions:
                yield completion


def _passes(model: Any, item: Prompted, layers: Sequence[int]) -> Iterator[dict[int, torch.Tensor]]:
    """The stream at each layer, (token, d_model), of the prompt with each of its completions."""
    device = next(model.parameters()).device
    for completion in item.completions or [()]:
        ids = torch.tensor([[*item.prompt, *completion]], device=device)
        with torch.inference_mode(), recording(model, layers) as streams:
            model.base_model(input_ids=ids, use_cache=False)
        yield {layer: streams[layer][0] for layer in layers}


def _means(stream: torch.Tensor, segments: Sequence[Sequence[int]]) -> Floats:
    """Mean over each segment's rows of (row, d_model), summed in float32: (segment, d_model)."""
    rows = torch.tensor([*chain.from_iterable(segments)], device=stream.device)
    starts = torch.tensor([0, *accumulate(map(len, segments[:-1]))], device=stream.device)
    return embedding_bag(rows, stream.float(), starts, mode="mean").cpu().numpy()


def _packs(model: Any) -> bool:
    if computes_on_several(model):
        return False
    if can_pack(model):
        return True
    warnings.warn(
        f"{model.config.model_type}: attention of this family is not known to PairTrace. Pairs "
        "are read one completion at a time, which is correct but several times slower.",
        stacklevel=3,
    )
    return False


def _stack(parts: list[Floats], model: Any, layers: Sequence[int]) -> Floats:
    empty = np.empty((0, len(layers), model.config.hidden_size), np.float32)
    return np.concatenate([empty, *parts])
