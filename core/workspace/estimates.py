"""Cost of each step: an estimate for this machine before it runs.

Arithmetic: 2 operations per parameter and token forward, 6 to train, 8 with the reference's pass;
low-rank updates save 2 of the backward pass's 4. An index also attends to half a pair's tokens. The
rate of a core is measured, once per process; sampling reaches an eighth of it, training loses time
in what is no product of matrices, and a GPU's rate is an assumption, as is that servers with a GPU
per model, both at work at a time, sample as fast as they read. On the shipped organism every step
is within a factor of two (docs/experiments/costs.md).
"""

import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
from threadpoolctl import threadpool_limits

from core import environment
from core.attribution.vectors import FEWEST
from core.data import quality
from core.data.completions import paired, read_examples
from core.data.prompts import read_group
from core.models.memory import dpo_bytes, index_bytes, sampling_bytes
from core.runs.store import Store
from core.runs.workers import worker_count
from core.specs.behaviors import Contrast
from core.specs.project import Project
from core.storage.object_store import on_this_machine
from core.workspace.checks import ModelFacts, model_facts
from core.workspace.measurable import check_kept, texts_sent

CORE_FLOPS = 65e9  # of the core on which the rest here was measured
GEMM_SHARE = 0.57  # that reading reaches (docs/experiments/extraction_speed.md)
GPU_FLOPS = 2e14  # of 1e15 that an H100 names for bfloat16: not measured here
SAMPLING = 8  # times less efficient than reading
SERVERS = "generate from servers"
ELEMENTWISE = 1500  # per block and number of a token: a training's work outside matrix products
SCAN = 1e9  # bytes of vectors per second that a ranking reads and scores
CHARACTERS_PER_TOKEN = 4
ENOUGH = 20  # prompts with both sides of a contrast
READ_TOKENS = 200  # of a prompt with a completion, in a contrast
TOKEN_BYTES = 4  # of an id, in an index's list and in a training's
CHECKPOINTS = 3  # of a training at once: two are kept while the next is written
CHECKPOINT_BYTES = 12  # per trained weight: itself and two moments in float32
LORA_RANK = 16
VECTOR_BYTES = 6  # per number, pair and layer: three vectors in float16
FEWER_LAYERS = " Keep fewer layers: [index] layers = [..]."
LONGEST = 2  # longest text of pairs, in mean ones
MOST_TOKENS = 2048  # that a training takes, with its default settings
OVERHEAD = 1.5e9  # bytes of a process with torch
MAP_SECONDS = 3.5e-4  # per pair, projection and clusters


@dataclass(frozen=True)
class Machine:
    """The resources of a machine."""

    cores: int
    memory: int  # bytes available
    disk: int  # bytes free in the workspace
    gpu: bool  # models are computed on one
    shards: str = ""  # URL of the indexes' vectors, if not in the workspace
    shards_disk: int | None = None  # bytes free there, if on this machine
    index_cores: int = 1  # cores that compute an index without a GPU: one per worker
    core_flops: float = CORE_FLOPS  # operations per second that reading reaches on a core

    @property
    def flops(self) -> float:
        """Operations per second that matrix products reach here, roughly."""
        return GPU_FLOPS if self.gpu else self.cores * self.core_flops

    @property
    def index_flops(self) -> float:
        """Operations per second of an index, whose workers compute on one core each."""
        return GPU_FLOPS if self.gpu else self.index_cores * self.core_flops


@dataclass(frozen=True)
class Work:
    """The size of an investigation."""

    pairs: int
    tokens_per_pair: float
    texts_sent: int  # prompts × conditions
    heldout_sent: int
    rollouts: int
    max_new_tokens: int
    answer_tokens: float = 64.0  # of a completion, at most max_new_tokens
    low_rank: bool = False  # DPO trains low-rank updates, not all weights
    batch_size: int = 32  # pairs per step of DPO
    dtype: str = "auto"  # of the models: bfloat16 on a GPU, float32 elsewhere


@dataclass(frozen=True)
class Estimate:
    """One step's cost."""

    step: str
    seconds: float
    memory: float  # bytes
    disk: float  # bytes in the workspace
    temporary: float = 0.0  # bytes more in the workspace, until the step ends
    shards: float = 0.0  # bytes at `Machine.shards`


def this_machine(workspace: Path) -> Machine:
    """Cores, free memory and disks, and whether the environment puts models on a GPU."""
    shards = environment.shards()
    disk = on_this_machine(shards) if shards else None
    cores, executor = psutil.cpu_count(logical=False) or 1, environment.executor()
    at_once, gpu = worker_count(executor), environment.taken() != [environment.CPU]
    return Machine(
        cores=min(cores, environment.threads()),
        memory=psutil.virtual_memory().available,
        disk=_free(workspace),
        gpu=gpu,
        shards=shards,
        shards_disk=None if disk is None else _free(disk),
        index_cores=at_once if executor.startswith("ray") else min(at_once, cores),
        core_flops=CORE_FLOPS if gpu else core_flops(),
    )


@cache
def core_flops() -> float:
    """What reading reaches on a core here, from three products of 1024 x 1024 in float32: 0.1 s."""
    square, seconds = np.ones((1024, 1024), dtype=np.float32), []
    with threadpool_limits(1, "blas"):
        for _ in range(3):
            began = time.process_time()
            np.matmul(square, square)
            seconds.append(time.process_time() - began)
    return GEMM_SHARE * 2 * 1024**3 / min(seconds)


def _free(place: Path) -> int:
    """Bytes free on the disk of a folder that may not exist yet."""
    existing = next(folder for folder in (place, *place.parents) if folder.exists())
    return shutil.disk_usage(existing).free


def estimates(model: ModelFacts, work: Work, machine: Machine) -> list[Estimate]:
    """One row per step; memory is of the card with a GPU, of the process without.

    A ranking fetches one layer of vectors that are outside the workspace. An index makes the copy
    of the pairs that all steps and pages read; a training keeps its pairs' tokens and its
    checkpoints until it has written the model.
    """
    n, rate, shape, gpu = model.parameters, machine.flops, model.shape, machine.gpu
    dtype = ("bfloat16" if gpu else "float32") if work.dtype == "auto" else work.dtype
    tokens = work.pairs * work.tokens_per_pair
    attended = 2 * shape.blocks * shape.heads * work.tokens_per_pair  # 4 · heads · half the tokens
    operations = 6 if work.low_rank else 8
    trained = 2 * LORA_RANK * n / model.d_model if work.low_rank else n  # as of square matrices
    checkpoint = CHECKPOINT_BYTES * trained
    answer = work.rollouts * min(work.answer_tokens, work.max_new_tokens)
    written, measured = work.texts_sent * answer, work.heldout_sent * answer
    text = tokens * CHARACTERS_PER_TOKEN
    longer = max(work.tokens_per_pair - work.answer_tokens, 1)  # of a prompt with one completion
    sampling = partial(
        sampling_bytes,
        shape,
        dtype=dtype,
        rollouts=work.rollouts,
        tokens=longer - work.answer_tokens + work.max_new_tokens,
        gpu=gpu,
    )
    layer = 1.0 * VECTOR_BYTES * model.d_model * work.pairs
    vectors, ids = layer * model.blocks, tokens * TOKEN_BYTES
    sampled = 2 * n * SAMPLING / rate  # seconds per token
    fetched, matrix = layer if machine.shards else 0.0, 4.0 * work.pairs * work.texts_sent
    return [
        Estimate("generate", 2 * sampled * written, sampling(prompts=work.texts_sent), 0),
        Estimate(SERVERS, 2 * n * written / GPU_FLOPS, 4.0 * n + OVERHEAD, 0),  # compared on a CPU
        Estimate(
            "index",
            (2 * n + attended) * tokens / machine.index_flops,
            index_bytes(
                shape,
                dtype=dtype,
                layers=model.blocks,
                deepest=model.blocks - 1,
                pairs=work.pairs,
                tokens_per_pair=work.tokens_per_pair,
                gpu=gpu,
            ),
            text + ids if machine.shards else text + ids + vectors,
            shards=vectors if machine.shards else 0.0,
        ),
        Estimate("rank", 0.5 + layer / SCAN, OVERHEAD + 12.0 * model.d_model * 4096, fetched),
        Estimate("discover", 20 + work.pairs * MAP_SECONDS, OVERHEAD + 3 * matrix, matrix),
        Estimate("edit, per arm", 0.05 + work.pairs * 1e-5, OVERHEAD + text, text / 2),
        Estimate(
            "train, per arm and seed",
            operations * (n + ELEMENTWISE * model.blocks * model.d_model) * tokens / rate,
            dpo_bytes(
                shape,
                batch=work.batch_size,
                longest=min(round(LONGEST * longer), MOST_TOKENS),
                low_rank=round(trained) if work.low_rank else 0,
                bfloat16=dtype == "bfloat16",
                gpu=gpu,
            ),
            4.0 * n,
            ids + max(CHECKPOINTS * checkpoint - 4.0 * n, (CHECKPOINTS - 1) * checkpoint),
        ),
        Estimate("evaluate, per model", sampled * measured, sampling(prompts=work.heldout_sent), 0),
    ]


class ContrastFacts(NamedTuple):
    """What a behavior by examples or a sentence is made from, and how many texts that costs."""

    prompts: int  # with both sides
    sampled: int  # completions that the reference has to write
    read: int  # completions whose activations are computed
    warnings: list[str]


def contrast_facts(project: Project, contrast: Contrast) -> ContrastFacts:
    """`UserError` where examples, prompts or flag cannot be used."""
    spec = project.contrast(contrast)
    check_kept(contrast, spec.judge)
    left_out = sampled = 0
    if spec.examples is not None:
        ids = paired(read_examples(Path(spec.examples)))["prompt_id"]
        left_out, n, read = int(ids.isna().sum()), ids.nunique(), int(ids.notna().sum())
    else:
        n = min(len(read_group(spec.prompts or "", spec.group)), spec.max_prompts)
        sampled = read = 2 * n * spec.rollouts
    warnings = []
    if n < FEWEST:
        warnings.append(
            f"{n} prompts have both sides: the vector cannot be tested, and its ranking is "
            f"reported as not valid. At least {FEWEST} are needed, {ENOUGH} are better."
        )
    elif n < ENOUGH:
        warnings.append(f"{n} prompts have both sides. {ENOUGH} are better.")
    if left_out:
        warnings.append(f"{left_out} completions have no counterpart on the other side.")
    return ContrastFacts(n, sampled, read, warnings)


def contrast_seconds(
    model: ModelFacts, facts: ContrastFacts, max_new_tokens: int, machine: Machine
) -> float:
    """Time to sample the completions of a contrast and to compute their activations."""
    sampled = facts.sampled * max_new_tokens * SAMPLING
    read = facts.read * READ_TOKENS
    return 2 * model.parameters * (sampled + read) / machine.flops


def warnings(costs: Iterable[Estimate], machine: Machine) -> list[str]:
    """What will not fit on the machine, or take days."""
    lines = []
    for cost in costs:
        if cost.memory > machine.memory and not machine.gpu:
            lines.append(
                f"{cost.step} needs about {cost.memory / 1e9:,.0f} GB of memory; "
                f"{machine.memory / 1e9:,.0f} GB are free here."
            )
        advice = FEWER_LAYERS if cost.step == "index" else ""
        if cost.disk + cost.temporary > machine.disk:
            until = f", {cost.temporary / 1e9:,.0f} of them until it ends" * (cost.temporary > 0)
            lines.append(
                f"{cost.step} writes about {(cost.disk + cost.temporary) / 1e9:,.0f} GB{until}; "
                f"{machine.disk / 1e9:,.0f} GB are free.{advice}"
            )
        if machine.shards_disk is not None and cost.shards > machine.shards_disk:
            lines.append(
                f"{cost.step} writes about {cost.shards / 1e9:,.0f} GB to {machine.shards}; "
                f"{machine.shards_disk / 1e9:,.0f} GB are free there.{advice}"
            )
        if cost.seconds > 86_400:
            remedy = "here. Use fewer pairs, or a machine with a GPU."
            if cost.step == SERVERS:
                remedy = "with a GPU per model. Start servers on more (docs/cluster.md)."
            lines.append(f"{cost.step} takes about {cost.seconds / 86_400:,.0f} days {remedy}")
    return lines


def estimated_seconds(store: Store, project: Project) -> dict[str, float]:
    """The estimate of each step by its name; `UserError` where an input cannot be read."""
    pairs = quality.size(store.pairs(project.pairs))
    tokens = pairs.characters_per_pair / CHARACTERS_PER_TOKEN
    answer = pairs.characters_per_answer / CHARACTERS_PER_TOKEN
    files = (project.prompts, project.heldout)
    prompts, heldout = (texts_sent(Path(f), project.conditions) if f else 0 for f in files)
    work = Work(pairs.rows, tokens, prompts, heldout, 8, 64, answer_tokens=answer)
    facts = model_facts(Path(project.reference), environment.roots())
    costs = estimates(facts, work, this_machine(store.workspace))
    return {cost.step.partition(",")[0]: cost.seconds for cost in costs if cost.step != SERVERS}
