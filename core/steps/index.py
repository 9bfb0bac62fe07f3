"""The index step: the vectors of all pairs on disk; plans, then computes what is missing."""

import errno
import logging
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from core import environment
from core.attribution.index.autotune import best_budget
from core.attribution.index.build import ShardReader, items_of, open_tasks, read_tokens, work_done
from core.attribution.index.layout import (
    Manifest,
    VectorIndex,
    read_pair_list,
    sweep,
    write_manifest,
)
from core.attribution.index.plan import make_plan, planned
from core.attribution.selftest import FIRST_PAIRS, first_contact
from core.attribution.similarity import save_mean_contexts
from core.data.tokens import template_hash
from core.errors import UserError
from core.models.devices import (
    DTYPES,
    candidates,
    in_words,
    pick_device,
    pick_dtype,
    spreading,
    token_budget,
)
from core.models.loading import load_tokenizer, read_config
from core.models.memory import Shape
from core.runs.progress import Progress
from core.runs.store import Store
from core.runs.workers import pick
from core.specs.steps import IndexSpec
from core.workspace.checks import model_facts


def run(spec: IndexSpec, *, store: Store, output: Path, progress: Progress) -> None:
    """Write the index of `spec` into `output`, reusing what an earlier attempt left there."""
    try:
        manifest = _plan(spec, store, output, progress)
        _test_model(spec, store, output, manifest, progress)
        _compute(spec, store, output, manifest, progress)
        save_mean_contexts(VectorIndex.open(output))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise UserError(
            f"{output}: the disk is full. Free some space and run the same command again: "
            "finished shards are kept."
        ) from error


def _plan(spec: IndexSpec, store: Store, output: Path, progress: Progress) -> Manifest:
    folder = store.model(spec.model)
    tokenizer = load_tokenizer(folder)
    wanted = _wanted(spec, store.contents(spec), folder, template_hash(tokenizer))
    if (earlier := planned(output)) is not None:
        chosen = ("budget", "n_pairs", "n_skipped")  # by the planning itself
        same = replace(wanted, **{name: getattr(earlier, name) for name in chosen})
        if same == replace(earlier, shards=()):
            return earlier
    plan = make_plan(
        store.pair_columns(spec.pairs),
        tokenizer,
        wanted,
        output,
        earlier=[store.output(run) for run in store.finished("index")],
        under=environment.shards(),
        progress=lambda done, total: progress(done, total, "tokenising"),
    )
    manifest = replace(plan, budget=_budget(plan, store, folder, output, progress))
    write_manifest(output, manifest)
    return manifest


def _budget(planned: Manifest, store: Store, folder: Path, output: Path, progress: Progress) -> int:
    """The fastest token budget of this machine; the rule's where workers may be on others."""
    if environment.executor().startswith("ray"):
        return planned.budget
    device, config, dtype = pick_device("auto"), read_config(folder), DTYPES[planned.dtype]
    weights, n_layers = _weights(folder, device, dtype), len(planned.layers)
    return best_budget(
        output,
        planned,
        folder,
        candidates(device, config, dtype, n_layers=n_layers, weights=weights),
        store.workspace / "cache" / "token-budgets.json",
        lambda done, total: progress(done, total, "measuring how much to read at once"),
    )


def _wanted(spec: IndexSpec, contents: dict[str, str], folder: Path, template: str) -> Manifest:
    """What to compute; the planning fills in the number of pairs and the shards."""
    config = read_config(folder)
    device = pick_device("auto")
    dtype = pick_dtype(spec.dtype, device)
    layers = _layers(spec, config.num_hidden_layers)
    return Manifest(
        model_hash=contents["model"],
        template_hash=template,
        pairs_hash=contents["pairs"],
        layers=layers,
        d_model=config.hidden_size,
        max_length=min(spec.max_length, config.max_position_embeddings),
        dtype=in_words(dtype),
        budget=token_budget(
            device, config, dtype, n_layers=len(layers), weights=_weights(folder, device, dtype)
        ),
        n_pairs=0,
        n_skipped=0,
        shards=(),
    )


def _test_model(
    spec: IndexSpec, store: Store, output: Path, manifest: Manifest, progress: Progress
) -> None:
    """Test a model that is new here on some of the pairs; warn of what failed.

    Workers of a Ray cluster may be on other machines: `pairtrace selftest` tests it there.
    """
    if environment.executor().startswith("ray") or not manifest.n_pairs:
        return
    listed = read_pair_list(output)
    rows = np.unique(np.linspace(0, len(listed) - 1, FIRST_PAIRS).astype(int))
    failed = first_contact(
        store.model(spec.model),
        manifest.model_hash,
        items_of(listed.iloc[rows], read_tokens(output))[0],
        manifest.layers,
        manifest.dtype,
        store.workspace / "cache",
        lambda done, total: progress(done, total, "testing a model that is new here"),
    )
    for line in failed:
        logging.getLogger(__name__).warning(line)


def _weights(folder: Path, device: torch.device, dtype: torch.dtype) -> int:
    """Bytes that the model takes of one GPU, at most; 0 on a CPU or where it is spread."""
    if device.type == "cpu" or spreading("auto"):
        return 0
    return model_facts(folder).parameters * dtype.itemsize


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
    note, model = f"pairs at {len(manifest.layers)} layers", store.model(spec.model)
    work = work_done(output, tasks, Shape.of(model))

    def tick(n_pairs: int) -> None:
        progress(done + n_pairs, manifest.n_pairs, note, work=work[done + n_pairs])

    tick(0)
    executor = pick(environment.executor(), shared=(output, model))
    make = partial(ShardReader, output, model)
    for n_pairs in executor(make, tasks, tick):
        done += n_pairs
        tick(0)
