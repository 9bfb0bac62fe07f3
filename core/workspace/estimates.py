"""What each step will cost on this machine, roughly, before it runs; and what it cannot afford.

Arithmetic: 2 operations per parameter and token forward, 6 to train, 8 with the reference's pass;
low-rank updates save 2 of the backward pass's 4.
The rate of a core is measured (docs/log.md, extraction: about 65 GFLOP/s in float32); sampling
reaches an eighth of it, and a GPU's rate is an assumption. Trust the figures within a factor of
three; runs of this workspace say it better (core.runs.forecast). Knows nothing of contents.
"""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from core import environment
from core.runs import workers
from core.storage.object_store import on_this_machine
from core.workspace.checks import ModelFacts

CORE_FLOPS = 65e9
GPU_FLOPS = 2e14  # of 1e15 that an H100 names for bfloat16: not measured here
SAMPLING = 8  # times less efficient than reading
CHARACTERS_PER_TOKEN = 4
TOKEN_BYTES = 4  # of an id, in an index's list and in a training's
CHECKPOINTS = 3  # of a training at once: two are kept while the next is written
CHECKPOINT_BYTES = 12  # per trained weight: itself and two moments in float32
LORA_RANK = 16
VECTOR_BYTES = 6  # per number, pair and layer: three vectors in float16
FEWER_LAYERS = " Keep fewer layers: [index] layers = [..]."
OVERHEAD = 1.5e9  # bytes of a process with torch
MAP_SECONDS = 1e-3  # per pair, projection and clusters


@dataclass(frozen=True)
class Machine:
    """What there is to spend."""

    cores: int
    memory: int  # bytes available
    disk: int  # bytes free where the workspace lies
    gpu: bool  # whether models are computed on one
    shards: str = ""  # where indexes keep their vectors, if not in the workspace
    shards_disk: int | None = None  # bytes free there, where that is a disk of this machine
    index_cores: int = 1  # that an index is computed on without a GPU: one per worker

    @property
    def flops(self) -> float:
        """Operations per second that matrix products reach here, roughly."""
        return GPU_FLOPS if self.gpu else self.cores * CORE_FLOPS

    @property
    def index_flops(self) -> float:
        """The same of an index, whose workers compute on one core each."""
        return GPU_FLOPS if self.gpu else self.index_cores * CORE_FLOPS


@dataclass(frozen=True)
class Work:
    """What there is to do."""

    pairs: int
    tokens_per_pair: float
    texts_sent: int  # prompts × conditions
    heldout_sent: int
    rollouts: int
    max_new_tokens: int
    low_rank: bool = False  # what DPO trains: low-rank updates, not all weights


@dataclass(frozen=True)
class Estimate:
    """One step's cost."""

    step: str
    seconds: float
    memory: float  # bytes
    disk: float  # bytes in the workspace
    meanwhile: float = 0.0  # bytes more in the workspace, until the step ends
    shards: float = 0.0  # bytes where vectors are kept, if not there


def this_machine(workspace: Path) -> Machine:
    """Cores, free memory and disks, and whether models go to a GPU, as the environment says."""
    shards = environment.shards()
    disk = on_this_machine(shards) if shards else None
    cores, executor = psutil.cpu_count(logical=False) or 1, environment.executor()
    at_once = workers.workers(executor)
    return Machine(
        cores=cores,
        memory=psutil.virtual_memory().available,
        disk=_free(workspace),
        gpu=environment.taken() != [environment.CPU],
        shards=shards,
        shards_disk=None if disk is None else _free(disk),
        index_cores=at_once if executor.startswith("ray") else min(at_once, cores),
    )


def _free(place: Path) -> int:
    """Bytes free on the disk of a folder that may still have to be made."""
    there = next(folder for folder in (place, *place.parents) if folder.exists())
    return shutil.disk_usage(there).free


def estimates(model: ModelFacts, work: Work, machine: Machine) -> list[Estimate]:
    """One row per step; the model lies in memory in float32, or in bfloat16 on a GPU.

    Vectors that are kept elsewhere are fetched into the workspace by a ranking, one layer of them.
    An index makes the copy of the pairs that all steps and pages read; a training keeps its pairs'
    tokens and its checkpoints until it has written the model.
    """
    n, rate = model.parameters, machine.flops
    weights = n * (2 if machine.gpu else 4) + OVERHEAD
    tokens = work.pairs * work.tokens_per_pair
    # low rank: weights have no gradients and no moments, but the merge at the end holds them twice
    training, held = (6, 8.0) if work.low_rank else (8, 20.0)
    trained = 2 * LORA_RANK * n / model.d_model if work.low_rank else n  # as of square matrices
    checkpoint = CHECKPOINT_BYTES * trained
    written = work.texts_sent * work.rollouts * work.max_new_tokens
    measured = work.heldout_sent * work.rollouts * work.max_new_tokens
    text = tokens * CHARACTERS_PER_TOKEN
    layer = 1.0 * VECTOR_BYTES * model.d_model * work.pairs
    vectors, ids = layer * model.blocks, tokens * TOKEN_BYTES
    return [
        Estimate("generate", 2 * 2 * n * written * SAMPLING / rate, weights, 0),
        Estimate(
            "index",
            2 * n * tokens / machine.index_flops,
            weights,
            text + ids if machine.shards else text + ids + vectors,
            shards=vectors if machine.shards else 0.0,
        ),
        Estimate(
            "rank",
            30 + work.pairs * 1e-4,
            OVERHEAD + 12.0 * model.d_model * 4096,
            layer if machine.shards else 0.0,
        ),
        Estimate(
            "discover",
            30 + work.pairs * MAP_SECONDS,
            OVERHEAD + 12.0 * work.pairs * work.texts_sent,
            4.0 * work.pairs * work.texts_sent,
        ),
        Estimate("edit, per arm", 5 + work.pairs * 1e-4, OVERHEAD + text, text / 2),
        Estimate(
            "train, per arm and seed",
            training * n * tokens / rate,
            held * n + OVERHEAD,
            4.0 * n,
            ids + max(CHECKPOINTS * checkpoint - 4.0 * n, (CHECKPOINTS - 1) * checkpoint),
        ),
        Estimate("evaluate, per model", 2 * n * measured * SAMPLING / rate, weights, 0),
    ]


def warnings(found: Iterable[Estimate], machine: Machine) -> list[str]:
    """What will not fit, or take days, said before it hurts."""
    said = []
    for one in found:
        if one.memory > machine.memory and not machine.gpu:
            said.append(
                f"{one.step} needs about {one.memory / 1e9:,.0f} GB of memory; "
                f"{machine.memory / 1e9:,.0f} GB are free here."
            )
        advice = FEWER_LAYERS if one.step == "index" else ""
        if one.disk + one.meanwhile > machine.disk:
            until = f", {one.meanwhile / 1e9:,.0f} of them until it ends" * (one.meanwhile > 0)
            said.append(
                f"{one.step} writes about {(one.disk + one.meanwhile) / 1e9:,.0f} GB{until}; "
                f"{machine.disk / 1e9:,.0f} GB are free.{advice}"
            )
        if machine.shards_disk is not None and one.shards > machine.shards_disk:
            said.append(
                f"{one.step} writes about {one.shards / 1e9:,.0f} GB to {machine.shards}; "
                f"{machine.shards_disk / 1e9:,.0f} GB are free there.{advice}"
            )
        if one.seconds > 86_400:
            said.append(
                f"{one.step} takes about {one.seconds / 86_400:,.0f} days here. Take fewer pairs, "
                "or a machine with a GPU."
            )
    return said
