"""Turn preference pairs into vectors on disk: plan, then compute what is missing."""

import errno
from dataclasses import replace
from functools import partial
from pathlib import Path

from core.attribution.activations import token_budget
from core.attribution.index import Manifest, VectorIndex, read_manifest, sweep
from core.attribution.plan import make_plan
from core.attribution.shards import ShardReader, open_tasks
from core.attribution.similarity import keep_mean_contexts
from core.data.on_disk import open_columns
from core.data.tokens import template_hash
from core.errors import UserError
from core.models.devices import in_words, pick_device, pick_dtype
from core.models.loading import load_tokenizer, read_config
from core.runs import environment
from core.runs.executors import pick
from core.runs.progress import Progress
from core.runs.specs import IndexSpec
from core.runs.store import Store


def run(spec: IndexSpec, *, store: Store, output: Path, progress: Progress) -> None:
    """Write the index of `spec` into `output`, reusing what an earlier attempt left there."""
    try:
        manifest = _plan(spec, store, output, progress)
        _compute(spec, store, output, manifest, progress)
        keep_mean_contexts(VectorIndex.open(output))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise UserError(
            f"{output}: the disk is full. Free some space and run the same command again: the "
            "shards that are done are kept."
        ) from error


def _plan(spec: IndexSpec, store: Store, output: Path, progress: Progress) -> Manifest:
    folder = store.model(spec.model)
    tokenizer = load_tokenizer(folder)
    wanted = _wanted(spec, store.contents(spec), folder, template_hash(tokenizer))
    if (output / "manifest.json").exists():
        manifest = read_manifest(output)
        if replace(wanted, n_pairs=manifest.n_pairs, n_skipped=manifest.n_skipped) == replace(
            manifest, shards=()
        ):
            return manifest
    return make_plan(
        open_columns(store.pairs(spec.pairs), store.workspace / "cache"),
        tokenizer,
        wanted,
        output,
        earlier=[store.output(run) for run in store.finished("index")],
        under=environment.shards(),
        progress=lambda done, total: progress(done, total, "tokenising"),
    )


def _wanted(spec: IndexSpec, contents: dict[str, str], folder: Path, template: str) -> Manifest:
    """Whose vectors to compute; how many pairs and shards that is, planning will say."""
    config = read_config(folder)
    device = pick_device("auto")
    dtype = pick_dtype(spec.dtype, device)
    return Manifest(
        model_hash=contents["model"],
        template_hash=template,
        pairs_hash=contents["pairs"],
        layers=_layers(spec, config.num_hidden_layers),
        d_model=config.hidden_size,
        max_length=min(spec.max_length, config.max_position_embeddings),
        dtype=in_words(dtype),
        budget=token_budget(device.type, config.hidden_size * dtype.itemsize),
        n_pairs=0,
        n_skipped=0,
        shards=(),
    )


def _layers(spec: IndexSpec, n_blocks: int) -> tuple[int, ...]:
    unknown = sorted(layer for layer in spec.layers if not 0 <= layer < n_blocks)
    if unknown:
        raise UserError(
            f"layers: {unknown[0]} is not one of 0..{n_blocks - 1}, the layers that the blocks of "
            f"{spec.model} read."
        )
    return tuple(sorted(set(spec.layers))) or tuple(range(n_blocks))


def _compute(
    spec: IndexSpec, store: Store, output: Path, manifest: Manifest, progress: Progress
) -> None:
    sweep(output)
    tasks = open_tasks(output, manifest)
    done = manifest.n_pairs - sum(task.shard.stop - task.shard.start for task in tasks)
    note = f"pairs at {len(manifest.layers)} layers"
    progress(done, manifest.n_pairs, note)

    def tick(some: int) -> None:
        progress(done + some, manifest.n_pairs, note)

    executor = pick(environment.executor())
    make = partial(ShardReader, output, store.model(spec.model))
    for pairs in executor(make, tasks, tick):
        done += pairs
        progress(done, manifest.n_pairs, note)
