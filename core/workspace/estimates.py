"""Cost of each step: an estimate for this machine before it runs, a forecast once runs finished.

Arithmetic: 2 operations per parameter and token forward, 6 to train, 8 with the reference's pass;
low-rank updates save 2 of the backward pass's 4. The rate of a core is measured: about 65 GFLOP/s
in float32 (docs/experiments/extraction_speed.md); sampling reaches an eighth of it, training loses
time in what is no product of matrices, and a GPU's rate is an assumption. On the shipped organism
every step is within a factor of two (docs/experiments/costs.md). A forecast takes the median time
that a step worked here, else its estimate, or the pace of a run under way, one run after the other.
"""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psutil

from core import environment
from core.attribution.vectors import FEWEST
from core.data import quality
from core.data.completions import paired, read_examples
from core.data.prompts import read_group
from core.runs.store import RunInfo, Store
from core.runs.workers import worker_count
from core.specs.behaviors import Contrast
from core.specs.project import Project
from core.storage.object_store import on_this_machine
from core.workspace.checks import ModelFacts, model_facts
from core.workspace.measurable import check_kept, texts_sent

CORE_FLOPS = 65e9
GPU_FLOPS = 2e14  # of 1e15 that an H100 names for bfloat16: not measured here
SAMPLING = 8  # times less efficient than reading
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
OVERHEAD = 1.5e9  # bytes of a process with torch
MAP_SECONDS = 3.5e-4  # per pair, projection and clusters
SETTLED = 0.1  # of a run's work; before, its pace is mostly that of loading


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

    @property
    def flops(self) -> float:
        """Operations per second that matrix products reach here, roughly."""
        return GPU_FLOPS if self.gpu else self.cores * CORE_FLOPS

    @property
    def index_flops(self) -> float:
        """Operations per second of an index, whose workers compute on one core each."""
        return GPU_FLOPS if self.gpu else self.index_cores * CORE_FLOPS


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
    at_once = worker_count(executor)
    return Machine(
        cores=min(cores, environment.threads()),
        memory=psutil.virtual_memory().available,
        disk=_free(workspace),
        gpu=environment.taken() != [environment.CPU],
        shards=shards,
        shards_disk=None if disk is None else _free(disk),
        index_cores=at_once if executor.startswith("ray") else min(at_once, cores),
    )


def _free(place: Path) -> int:
    """Bytes free on the disk of a folder that may not exist yet."""
    existing = next(folder for folder in (place, *place.parents) if folder.exists())
    return shutil.disk_usage(existing).free


def estimates(model: ModelFacts, work: Work, machine: Machine) -> list[Estimate]:
    """One row per step; the model is in float32, or in bfloat16 on a GPU.

    A ranking fetches one layer of vectors that are outside the workspace. An index makes the copy
    of the pairs that all steps and pages read; a training keeps its pairs' tokens and its
    checkpoints until it has written the model.
    """
    n, rate = model.parameters, machine.flops
    weights = n * (2 if machine.gpu else 4) + OVERHEAD
    tokens = work.pairs * work.tokens_per_pair
    # low rank: weights have no gradients or moments, but the merge at the end needs them twice
    operations, bytes_each = (6, 8.0) if work.low_rank else (8, 20.0)
    trained = 2 * LORA_RANK * n / model.d_model if work.low_rank else n  # as of square matrices
    checkpoint = CHECKPOINT_BYTES * trained
    answer = work.rollouts * min(work.answer_tokens, work.max_new_tokens)
    written, measured = work.texts_sent * answer, work.heldout_sent * answer
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
            0.5 + layer / SCAN,
            OVERHEAD + 12.0 * model.d_model * 4096,
            layer if machine.shards else 0.0,
        ),
        Estimate(
            "discover",
            20 + work.pairs * MAP_SECONDS,
            OVERHEAD + 12.0 * work.pairs * work.texts_sent,
            4.0 * work.pairs * work.texts_sent,
        ),
        Estimate("edit, per arm", 0.05 + work.pairs * 1e-5, OVERHEAD + text, text / 2),
        Estimate(
            "train, per arm and seed",
            operations * (n + ELEMENTWISE * model.blocks * model.d_model) * tokens / rate,
            bytes_each * n + OVERHEAD,
            4.0 * n,
            ids + max(CHECKPOINTS * checkpoint - 4.0 * n, (CHECKPOINTS - 1) * checkpoint),
        ),
        Estimate("evaluate, per model", 2 * n * measured * SAMPLING / rate, weights, 0),
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
            lines.append(
                f"{cost.step} takes about {cost.seconds / 86_400:,.0f} days here. Use fewer pairs, "
                "or a machine with a GPU."
            )
    return lines


class Forecast(NamedTuple):
    """Expected seconds until all runs are done, and the steps that have no finished run yet."""

    seconds: float
    unknown: tuple[str, ...]


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
    return {cost.step.partition(",")[0]: cost.seconds for cost in costs}


def typical_seconds(store: Store) -> dict[str, float]:
    """Median wall-clock seconds of the finished runs, by step; a tried prompt is no evaluation."""
    infos = store.infos(state="finished")
    most = {info.step: max(i.total for i in infos if i.step == info.step) for info in infos}
    full = [info for info in infos if 2 * info.total >= most[info.step]]
    return {step: median(i.seconds for i in full if i.step == step) for step in most}


def forecast(steps: Iterable[str], typical: dict[str, float]) -> Forecast:
    """The time of runs that have not begun."""
    return _total((step, typical.get(step)) for step in steps)


def time_left(infos: Iterable[RunInfo], typical: dict[str, float]) -> Forecast:
    """The time that waiting and running runs still need."""
    open_states = ("absent", "waiting", "running")
    return _total((i.step, _time_left(i, typical)) for i in infos if i.state in open_states)


def _time_left(info: RunInfo, typical: dict[str, float]) -> float | None:
    usual = typical.get(info.step)
    early = usual is not None and info.done < SETTLED * info.total
    if info.state == "running" and info.done and info.total and not early:
        return info.seconds * (info.total - info.done) / info.done
    return None if usual is None else max(0.0, usual - info.seconds * (info.state == "running"))


def _total(runs: Iterable[tuple[str, float | None]]) -> Forecast:
    times = list(runs)
    unknown = dict.fromkeys(step for step, seconds in times if seconds is None)
    return Forecast(sum(seconds or 0.0 for _, seconds in times), tuple(unknown))
