"""Computing the vectors of shards.

A reader is made once per process: it loads the model, and turns tasks (a shard, and its missing
layers) into files. All that a task needs is in the index folder, so tasks are small and can be sent
to any process. A task is computed on one core: the same bytes on any machine of a kind, whatever
the executor. Does not know which process it runs in, nor how vectors are stored.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.attribution.index.layout import (
    Manifest,
    Shard,
    checksum_name,
    damaged,
    read_manifest,
    read_pair_list,
    write_vectors,
)
from core.attribution.index.plan import TOKENS
from core.data.pair_table import PairColumns
from core.data.pairs import TEXTS
from core.data.tokens import encode_completions, encode_prompts
from core.errors import UserError
from core.models.extraction.activations import segment_means
from core.models.extraction.batch import Prompted
from core.models.loading import load_model, load_tokenizer, on_cores, read_config
from core.models.memory import Shape
from core.storage.object_store import shard_files

Ids = NDArray[np.int32]


@dataclass(frozen=True)
class Task:
    """A shard and its missing layers."""

    shard: Shard
    layers: tuple[int, ...]


def open_tasks(folder: Path, manifest: Manifest) -> list[Task]:
    """The shards and layers of an index that are missing or damaged."""
    layers: dict[Shard, list[int]] = {}
    for shard, layer, _ in damaged(folder, manifest):
        layers.setdefault(shard, []).append(layer)
    return [Task(shard, tuple(missing)) for shard, missing in layers.items()]


def incomplete(folder: Path, shards: Iterable[Shard], layers: Iterable[int]) -> list[Shard]:
    """The shards that another process has not finished: a checksum file is written last."""
    files, layers = shard_files(folder), tuple(layers)
    return [
        shard
        for shard in shards
        if not all(files.exists(checksum_name(shard.name, layer)) for layer in layers)
    ]


def work_done(folder: Path, tasks: Sequence[Task], shape: Shape) -> NDArray[np.float64]:
    """(pair + 1,) share of an index's work that is done after so many pairs, the tasks' pairs last.

    A pair's work is its operations in a block: those of its tokens, and attention, which grows with
    the square of its length. A prompt counts for the first of the pairs that share it.
    """
    listed, ids = read_pair_list(folder), read_tokens(folder)
    prompt, chosen, rejected = (listed[f"n_{field}"].to_numpy(float) for field in TEXTS)
    per_token = 2 * (shape.first(shape.blocks) - shape.embeddings) / shape.blocks
    per_score = 4 * shape.heads
    cost = per_token * (chosen + rejected)
    cost += per_score * sum(side * (prompt + side / 2) for side in (chosen, rejected))
    cost += _is_new(listed, ids) * (per_token * prompt + per_score * prompt**2 / 2)
    is_open = np.zeros(len(listed), bool)
    for task in tasks:
        is_open[task.shard.start : task.shard.stop] = True
    done = np.concatenate([[0.0], cost[~is_open], cost[is_open]]).cumsum()
    return done / max(done[-1], 1.0)


def _is_new(listed: pd.DataFrame, ids: Ids) -> NDArray[np.bool_]:
    """(pair,) whether its prompt is another one than that of the pair before."""
    size, start = listed["n_prompt"].to_numpy(), listed["offset"].to_numpy()
    is_new = np.ones(len(size), bool)
    for row in np.flatnonzero(size[1:] == size[:-1]) + 1:
        before, this = (ids[start[at] : start[at] + size[at]] for at in (row - 1, row))
        is_new[row] = not np.array_equal(before, this)
    return is_new


class ShardReader:
    """Computes shards of one index with one model."""

    def __init__(self, folder: Path, model_folder: Path) -> None:
        self.folder = folder
        self.manifest = read_manifest(folder)
        self.pairs = read_pair_list(folder)
        self.tokens = read_tokens(folder)
        self.loaded = load_model(
            model_folder,
            dtype=self.manifest.dtype,
            blocks=max(self.manifest.layers),
        )

    def __call__(self, task: Task, tick: Callable[[int], None]) -> int:
        """Write the shard's vectors and return its number of pairs; `tick(pairs)` as they come."""
        pairs = self.pairs.iloc[task.shard.start : task.shard.stop]
        items, owners = items_of(pairs, self.tokens)
        with on_cores(1):
            means = segment_means(
                self.loaded.model,
                items,
                task.layers,
                budget=self.manifest.budget,
                progress=lambda done, _: tick(int(np.searchsorted(owners, done))),
            )
        chosen, rejected = means.completion[0::2], means.completion[1::2]
        vectors = np.stack([chosen - rejected, chosen, means.context[owners]])
        _refuse_non_finite(vectors, pairs, self.manifest.dtype)
        for number, layer in enumerate(task.layers):
            write_vectors(self.folder, task.shard.name, layer, vectors[:, :, number])
        return len(pairs)


def _refuse_non_finite(vectors: NDArray[np.float32], pairs: pd.DataFrame, dtype: str) -> None:
    """Vectors are (3, pair, layer, d_model)."""
    bad = ~np.isfinite(vectors).all(axis=(0, 2, 3))
    if bad.any():
        instead = "" if dtype == "float32" else "index with --dtype float32, "
        raise UserError(
            f"The reference's activations in {dtype} are not finite on {int(bad.sum())} pairs of a "
            f"shard, first on {pairs['uid'].iloc[int(bad.argmax())]!r}: {instead}check the model's "
            "weights, or leave the pair out. Shards that are done are kept."
        )


def read_tokens(folder: Path) -> Ids:
    """The token ids of all pairs of an index, memory-mapped."""
    return np.memmap(folder / TOKENS, np.int32, mode="r")


def items_of(pairs: pd.DataFrame, tokens: Ids) -> tuple[list[Prompted], NDArray[np.int64]]:
    """Consecutive pairs with the same prompt as one item, and each pair's item, (pair,)."""
    items: list[Prompted] = []
    owners: list[int] = []
    for prompt, group in groupby(_ids(pairs, tokens), key=lambda ids: ids[0]):
        completions = [ids for _, *sides in group for ids in sides]
        owners += [len(items)] * (len(completions) // 2)
        items.append(Prompted(prompt, completions))
    return items, np.array(owners, np.int64)


def sample_items(model: Path, pairs: PairColumns, count: int) -> list[Prompted]:
    """`count` pairs spread over a data set, as an index reads them; those that do not fit are left
    out."""
    longest, tokenizer = read_config(model).max_position_embeddings, load_tokenizer(model)
    rows = pairs.rows(np.unique(np.linspace(0, len(pairs) - 1, count).astype(int)))
    prompts, *sides = (rows[field].tolist() for field in TEXTS)
    ids = [encode_prompts(tokenizer, prompts, strict=False)]
    ids += [encode_completions(tokenizer, texts) for texts in sides]
    items = [Prompted(prompt, after) for prompt, *after in zip(*ids, strict=True)]
    fit = [i for i in items if 0 not in i.lengths and i.lengths[0] + max(i.lengths[1:]) <= longest]
    if not fit:
        raise UserError(f"none of {len(items)} pairs fits {model}. Name other pairs.")
    return fit


def _ids(pairs: pd.DataFrame, tokens: Ids) -> Iterator[tuple[list[int], list[int], list[int]]]:
    for row in pairs.itertuples():
        ends = np.cumsum([row.offset, row.n_prompt, row.n_chosen, row.n_rejected])
        prompt, chosen, rejected = (tokens[start:stop].tolist() for start, stop in pairwise(ends))
        yield prompt, chosen, rejected
