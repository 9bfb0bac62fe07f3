"""The index step: the vectors of all pairs on disk; plans, then computes what is missing.

Of several processes of one launch (torchrun, srun) the first plans; each computes every n-th shard,
with a model of its own, and the first waits for the others' files. They exchange nothing else.
"""

import errno
import logging
import time
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from core import environment
from core.attribution.index.autotune import best_budget
from core.attribution.index.build import (
    ShardReader,
    Task,
    incomplete,
    items_of,
    open_tasks,
    read_tokens,
    work_done,
)
from core.attribution.index.layout import (
    Manifest,
    Shard,
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

LOOK_SECONDS = 1.0  # between two looks at what other processes wrote


def run(spec: IndexSpec, *, store: Store, output: Path, progress: Progress) -> None:
    """Write the index of `spec` into `output`, reusing what an earlier attempt left there."""
    try:
        if environment.rank() > 0:
            _compute(spec, store, output, _awaited_plan(spec, store, output), progress)
            return
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
    if (earlier := _planned(output, wanted)) is not None:
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


def _planned(output: Path, wanted: Manifest) -> Manifest | None:
    """The plan that is in a folder, if it is of what is wanted."""
    if (earlier := planned(output)) is None:
        return None
    chosen = ("budget", "n_pairs", "n_skipped")  # by the planning itself
    same = replace(wanted, **{name: getattr(earlier, name) for name in chosen})
    return earlier if same == replace(earlier, shards=()) else None


def _awaited_plan(spec: IndexSpec, store: Store, output: Path) -> Manifest:
    """The plan, once the first process of this launch has made it."""
    folder, run = store.model(spec.model), store.run_id(spec)
    template = template_hash(load_tokenizer(folder))
    wanted = _wanted(spec, store.contents(spec), folder, template)
    while (manifest := _planned(output, wanted)) is None:
        if store.state(run) not in ("waiting", "running"):
            raise UserError(f"{run} is {store.state(run)}: the first process made no plan.")
        time.sleep(LOOK_SECONDS)
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
    """Compute this process's part of the shards; the first process waits for the others' parts."""
    rank, processes = environment.rank(), environment.processes()
    part = replace(manifest, shards=manifest.shards[rank::processes])
    others = [shard for shard in manifest.shards if shard not in part.shards]
    if processes == 1:
        sweep(output)
    elif environment.executor() != "inline":
        raise UserError(
            f"${environment.EXECUTOR} is {environment.executor()!r}, and a launch has {processes} "
            "processes: use one of the two."
        )
    tasks, unfinished = open_tasks(output, part), incomplete(output, others, manifest.layers)
    elsewhere = _n_pairs(others) - _n_pairs(unfinished)
    done = _n_pairs(part.shards) - _n_pairs(task.shard for task in tasks)
    note, model = f"pairs at {len(manifest.layers)} layers", store.model(spec.model)
    last = [*tasks, *(Task(shard, ()) for shard in unfinished)]
    work = work_done(output, last, Shape.of(model))

    def tick(n_pairs: int) -> None:
        at = done + elsewhere + n_pairs
        progress(at, manifest.n_pairs, note, work=work[at])

    tick(0)
    executor = pick(environment.executor(), shared=(output, model))
    make = partial(ShardReader, output, model)
    for n_pairs in executor(make, tasks, tick):
        done += n_pairs
        if rank == 0:
            elsewhere = _n_pairs(others) - _n_pairs(incomplete(output, others, manifest.layers))
        tick(0)
    theirs = replace(manifest, shards=tuple(others))
    while rank == 0 and (
        missing := incomplete(output, others, manifest.layers)
        or [task.shard for task in open_tasks(output, theirs)]  # damaged by an earlier attempt
    ):
        elsewhere = _n_pairs(others) - _n_pairs(missing)
        tick(0)
        time.sleep(LOOK_SECONDS)


def _n_pairs(shards: Iterable[Shard]) -> int:
    return sum(shard.stop - shard.start for shard in shards)
