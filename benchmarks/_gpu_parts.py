"""The parts of benchmarks.gpu: what is measured, in full size and in the tiny form of a test.

Every part calls `record` with each result as soon as it has it. Random weights have the speed of
trained ones; what depends on weights is measured on the organisms.
"""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention
from transformers import AutoModelForCausalLM, Olmo2Config

from benchmarks._loop import (
    count_tokens,
    datapoints,
    paired_cosines,
    published_loop,
    random_items,
    sharing_prompts,
)
from benchmarks.extraction import least_flops
from benchmarks.memory import ORGANISM, joined_pairs
from core import environment
from core.attribution import selftest as tests
from core.attribution.index.autotune import fastest
from core.attribution.index.build import sample_items
from core.data.pair_table import open_columns
from core.demo import investigation
from core.geometry import cosines
from core.models.devices import candidates, device_name, pick_device, token_budget
from core.models.extraction.attention import Tiles, Trie
from core.models.extraction.batch import Prompted
from core.models.generation import sample
from core.models.loading import LoadedModel, cut, load_tokenizer
from core.models.memory import Shape, dpo_bytes, index_bytes, peak_bytes, sampling_bytes
from core.runs.execute import execute
from core.runs.store import Store
from core.specs import project
from core.specs.behaviors import Contrast
from core.specs.steps import ExplainSpec
from core.storage.tables import record as read_record

PAPER = 378_341  # pairs of the paper's data set
BEHAVIORS, SCAN_ROWS = 8, 32_768
BOTH = ("remove", "flip")


@dataclass(frozen=True)
class Size:
    """How large everything is."""

    large: dict[str, int]  # shape of OLMo 2 7B
    small: dict[str, int]  # and of 1B
    layer: int  # that is read
    pairs: int  # that are read, of lengths of these means
    loop_pairs: int
    means: tuple[int, int, int]
    peak: int  # rows and columns of the product that gives the GEMM peak
    prompts: int
    rollouts: int
    new_tokens: int
    batch: int  # pairs of a DPO step
    joined: int  # texts of the organism's in one
    scanned: tuple[int, int]  # pairs and width
    share: float  # of the organism's pairs that arms are retrained on


FULL = Size(
    large={"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
           "num_attention_heads": 32, "vocab_size": 100_352},
    small={"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
           "num_attention_heads": 16, "vocab_size": 100_352},
    layer=20, pairs=768, loop_pairs=32, means=(250, 400, 350), peak=8192, prompts=64, rollouts=8,
    new_tokens=128, batch=16, joined=9, scanned=(PAPER, 4096), share=1.0,
)  # fmt: skip
TINY = Size(
    large={"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4,
           "num_attention_heads": 2, "vocab_size": 600},
    small={"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
           "num_attention_heads": 2, "vocab_size": 600},
    layer=3, pairs=24, loop_pairs=6, means=(25, 40, 35), peak=256, prompts=4, rollouts=2,
    new_tokens=6, batch=2, joined=1, scanned=(2_000, 64), share=0.05,
)  # fmt: skip


@dataclass
class Job:
    """Where a part computes and writes, how large it is, and what it has measured so far."""

    out: Path
    device_name: str
    tiny: bool
    first_seed: int
    record: Callable[[dict[str, Any]], None]
    headlines: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.size = TINY if self.tiny else FULL
        self.device = pick_device("auto")
        self.dtype = torch.float32 if self.device.type == "cpu" else torch.bfloat16
        if self.device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def clock(self, work: Callable[[], Any]) -> tuple[float, Any]:
        """Wall-clock seconds of some work on the device, and its result."""
        self.wait()
        start = time.perf_counter()
        result = work()
        self.wait()
        return time.perf_counter() - start, result

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def model(self, shape: dict[str, int], dtype: torch.dtype) -> LoadedModel:
        """A model of OLMo 2's form with random weights on the device; the organism's tokenizer."""
        config = Olmo2Config(**shape, max_position_embeddings=4096, pad_token_id=0, eos_token_id=1)
        torch.manual_seed(0)
        with torch.device(self.device):
            model = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
        return LoadedModel(model, load_tokenizer(ORGANISM / "reference"), self.device)

    def folder(self) -> Path:
        """A model folder of the small shape, and one beside it with weights a small step away."""
        place = self.out / "small"
        if not (place / "config.json").exists():
            loaded = self.model(self.size.small, torch.bfloat16)
            for name in ("small-policy", "small"):
                loaded.model.save_pretrained(self.out / name)
                loaded.tokenizer.save_pretrained(self.out / name)
                with torch.no_grad():
                    for weights in loaded.model.parameters():
                        weights += 0.002 * torch.randn_like(weights)
        return place


def selftest(job: Job) -> None:
    """Every check, on the organism, the small random shape, and SmolLM2 if it is in the cache."""
    pairs = open_columns(ORGANISM / "pairs.parquet", job.out / "workspace" / "cache")
    smollm2 = environment.model_cache() / "smollm2"
    models = {"organism": ORGANISM / "reference", "small": job.folder()}
    if smollm2.is_dir() and not job.tiny:
        models["smollm2"] = smollm2
    n_failed = n_checks = 0
    for name, folder in models.items():
        items = sample_items(folder, pairs, 8 if job.tiny else tests.PAIRS)
        last = Shape.of(folder).blocks - 1
        checks = tests.selftest(folder, items, [last], dtypes=["float32", "bfloat16"])
        n_checks += len(checks)
        n_failed += sum(not check.passed for check in checks)
        job.record({name: [vars(check) for check in checks]})
    job.headlines["selftest"] = f"{n_checks - n_failed} of {n_checks} checks passed"


def index(job: Job) -> None:
    """Pairs per second of an index at one layer, against the GEMM peak and the published loop."""
    size, dtype = job.size, job.dtype
    peak = gemm_peak(job)
    job.record({"device": device_name(job.device), "gemm_peak_tflops": peak / 1e12})
    loaded = job.model(size.large, dtype)
    vocabulary = size.large["vocab_size"]
    items = random_items(size.pairs, vocabulary=vocabulary, means=size.means, longest=2000)
    few = items[: size.loop_pairs]
    published_loop(loaded.model, few[:1], size.layer)  # warm-up
    seconds, expected = job.clock(lambda: published_loop(loaded.model, few, size.layer))
    loop = len(few) / seconds
    job.record({"published_loop": {"pairs_per_second": loop, "pairs": len(few)}})
    shape = _shape(loaded.model)
    model = cut(loaded.model, size.layer)
    if job.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    budgets = _budgets(job, model, few)
    job.record({"token_budget": budgets})
    seconds, vectors = job.clock(lambda: datapoints(model, items, size.layer))
    unique = sharing_prompts(items)
    tokens, flops = count_tokens(unique), least_flops(model, unique)
    priced = index_bytes(
        shape, dtype=str(dtype).removeprefix("torch."), layers=1, deepest=size.layer,
        pairs=len(items), tokens_per_pair=tokens / len(items), gpu=job.device.type == "cuda",
    )  # fmt: skip
    job.record({
        "pairs": len(items), "tokens": tokens, "seconds": seconds,
        "pairs_per_second": len(items) / seconds, "tokens_per_second": tokens / seconds,
        "tflops": flops / seconds / 1e12, "fraction_of_peak": flops / seconds / peak,
        "times_faster_than_published_loop": len(items) / seconds / loop,
        "min_cosine": float(paired_cosines(vectors[: len(few)], expected).min()),
        "priced_bytes": priced, "peak_bytes": peak_bytes(),
        "estimated_hours_of_378341_pairs": PAPER / (len(items) / seconds) / 3600,
    })  # fmt: skip
    job.record({"attention_seconds": attention(job, items[: size.loop_pairs])})
    job.headlines["index"] = (
        f"{len(items) / seconds:.1f} pairs/s, {flops / seconds / peak:.0%} of the GEMM peak, "
        f"{len(items) / seconds / loop:.1f}x the published loop"
    )


def _shape(model: Any) -> Shape:
    config = model.config
    return Shape(
        blocks=config.num_hidden_layers,
        d_model=config.hidden_size,
        mlp=config.intermediate_size,
        heads=config.hidden_size,
        keys=config.hidden_size,
        vocabulary=config.vocab_size,
        tied=False,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
    )


def _budgets(job: Job, model: Any, few: list[Prompted]) -> dict[str, int]:
    """The rule's token budget, and the one that is measured to be the fastest."""
    rule = token_budget(job.device, model.config, job.dtype)
    others = candidates(job.device, model.config, job.dtype)
    best = fastest(model, few, sorted({rule, *others}), rule, lambda *_: None)
    return {"rule": rule, "fastest": best}


def gemm_peak(job: Job) -> float:
    """FLOP per second of a square product in the arithmetic of the device."""
    n = job.size.peak
    left, right = (torch.randn(n, n, device=job.device, dtype=job.dtype) for _ in range(2))
    for _ in range(3):
        left @ right
    seconds = min(job.clock(lambda: left @ right)[0] for _ in range(10))
    return 2 * n**3 / seconds


def attention(job: Job, items: list[Prompted]) -> dict[str, float]:
    """Seconds of one block's attention: our tiles, flex attention on the same rows, and the flash
    kernel on every completion with its prompt, padded."""
    heads = job.size.large["num_attention_heads"]
    width = job.size.large["hidden_size"] // heads
    sequences = [[*item.prompt, *after] for item in items for after in item.completions]
    trie = Trie(sequences)
    rows, device = len(trie.ids), job.device
    query, key, value = (
        torch.randn(rows, heads, width, device=device, dtype=job.dtype) for _ in range(3)
    )
    tiles = Tiles(trie, device)
    end = torch.from_numpy(trie.end).to(device)
    mask = create_block_mask(
        lambda _b, _h, q, k: (k <= q) & (q < end[k]), None, None, rows, rows, device=str(device)
    )
    flex = flex_attention if device.type == "cpu" else torch.compile(flex_attention)
    packed = [part.transpose(0, 1)[None] for part in (query, key, value)]
    longest = max(map(len, sequences))
    padded = [
        torch.randn(len(sequences), heads, longest, width, device=device, dtype=job.dtype)
        for _ in range(3)
    ]

    def flash() -> Any:
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            return scaled_dot_product_attention(*padded, is_causal=True)

    ways: dict[str, Callable[[], Any]] = {
        "tiles_sdpa": lambda: tiles.attend(query, key, value, scaling=None),
        "flex": lambda: flex(*packed, block_mask=mask)[0].transpose(0, 1),
        "flash_padded": flash,
    }
    seconds = {}
    with torch.inference_mode():
        for name, way in ways.items():
            way()
            seconds[name] = min(job.clock(way)[0] for _ in range(3))
        ours, theirs = ways["tiles_sdpa"](), ways["flex"]()
    seconds["largest_difference_tiles_flex"] = float((ours - theirs).abs().max())
    return seconds


def training(job: Job) -> None:
    """DPO steps of the large shape: all weights where they fit, else low-rank updates."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from transformers.trainer_utils import SaveStrategy

    from core.intervention.training import dpo
    from core.intervention.training.tokens import LogProbCache, write_tokens
    from core.specs.steps import TrainSpec

    size = job.size
    shape = _shape(job.model(size.large, torch.bfloat16).model)
    gc.collect()
    table = joined_pairs(size.joined, 4_000 * size.batch)[: 3 * size.batch]
    folder = job.out / "workspace" / "runs" / "training"
    folder.mkdir(parents=True, exist_ok=True)
    on_gpu = job.device.type == "cuda"
    free = torch.cuda.mem_get_info()[0] if on_gpu else 64e9
    longest = 2048
    price = partial(
        dpo_bytes, shape, batch=size.batch, longest=longest, bfloat16=on_gpu, gpu=on_gpu
    )
    method = "full" if price() < 0.9 * free else "lora"
    spec = TrainSpec(
        reference="large", pairs="pairs", batch_size=size.batch, method=method, learning_rate=1e-6,
        epochs=1,
    )  # fmt: skip
    precision = dpo._precision(spec, on_gpu=on_gpu)
    weights = getattr(torch, dpo._weights(spec, precision, 1))
    loaded = job.model(size.large, weights)
    write_tokens(loaded.tokenizer, [table], longest, folder / "tokens.arrow")
    tokens = Dataset.from_file(str(folder / "tokens.arrow"))
    environment.compute_in(precision)
    output = folder / "output" / "checkpoints"
    arguments = dpo._arguments(spec, loaded.model.config, tokens, output, precision)
    arguments.save_strategy = SaveStrategy.NO
    began = time.perf_counter()
    trainer = dpo._trainer(
        loaded,
        tokens,
        arguments,
        lora=dpo._lora(spec),
        cache=LogProbCache(
            folder / f"cache-{time.time_ns()}", model="large", arithmetic="measured"
        ),
        progress=lambda *_: None,
    )
    clock: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            job.wait()
            clock.append(time.perf_counter())

    trainer.add_callback(Clock())
    reference = time.perf_counter() - began
    trainer.train()
    per_step = min(after - before for before, after in pairwise(clock))
    ids = (
        len(row["prompt_ids"]) * 2 + len(row["chosen_ids"]) + len(row["rejected_ids"])
        for row in tokens
    )
    per_pair = sum(ids) / len(tokens)
    job.record({
        "method": method, "precision": precision, "pairs": len(tokens), "batch": size.batch,
        "tokens_per_pair": per_pair, "reference_log_probs_seconds": reference,
        "seconds_per_step": per_step, "tokens_per_second": size.batch * per_pair / per_step,
        "losses": [row["loss"] for row in trainer.state.log_history if "loss" in row],
        "priced_bytes": price(low_rank=0 if method == "full" else _low_rank(shape)),
        "peak_bytes": peak_bytes(),
    })  # fmt: skip
    job.headlines["training"] = (
        f"{method}, {per_step:.2f} s a step of {size.batch} pairs, "
        f"{size.batch * per_pair / per_step:,.0f} tokens/s, {peak_bytes() / 1e9:.1f} GB"
    )


def _low_rank(shape: Shape, rank: int = 16) -> int:
    matrices = 4 * 2 * shape.d_model + 3 * (shape.d_model + shape.mlp)
    return rank * shape.blocks * matrices


def sampling(job: Job) -> None:
    """Tokens per second of the large shape; random weights hardly ever end a completion."""
    size = job.size
    loaded = job.model(size.large, job.dtype)
    prompts = joined_pairs(size.joined, 10**7)["prompt"].tolist()[: size.prompts]
    draw = partial(
        sample, loaded, prompts, temperature=1.0, max_new_tokens=size.new_tokens, seed=0,
        progress=lambda *_: None,
    )  # fmt: skip
    sample(
        loaded, prompts[:1], rollouts=1, temperature=1.0, max_new_tokens=2, seed=0,
        progress=lambda *_: None,
    )  # fmt: skip
    seconds, drawn = job.clock(lambda: draw(rollouts=size.rollouts))
    tokens = int(drawn["n_tokens"].sum())
    longest = max(len(prompt.split()) for prompt in prompts) + size.new_tokens
    job.record({
        "completions": len(drawn), "tokens": tokens, "seconds": seconds,
        "tokens_per_second": tokens / seconds, "peak_bytes": peak_bytes(),
        "priced_bytes": sampling_bytes(
            _shape(loaded.model), dtype=str(job.dtype).removeprefix("torch."),
            prompts=len(prompts), rollouts=size.rollouts, tokens=longest,
            gpu=job.device.type == "cuda",
        ),
    })  # fmt: skip
    job.headlines["sampling"] = f"{tokens / seconds:,.0f} tokens/s, {len(drawn)} completions"


def query(job: Job) -> None:
    """Cosines of the paper's pairs with eight vectors, on the device and by the scan's own code."""
    n, width = job.size.scanned
    rng = np.random.default_rng(0)
    block = rng.normal(size=(min(n, SCAN_ROWS), width)).astype(np.float16)
    vectors = rng.normal(size=(BEHAVIORS, width)).astype(np.float32)
    target = torch.from_numpy(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    target = target.to(job.device).T

    def on_device() -> np.ndarray:
        parts = []
        for start in range(0, n, SCAN_ROWS):
            rows = torch.from_numpy(block[: min(SCAN_ROWS, n - start)]).to(job.device).float()
            parts.append((rows @ target / rows.norm(dim=1, keepdim=True)).cpu())
        return torch.cat(parts).numpy()

    def by_scan() -> np.ndarray:
        rows = range(0, n, SCAN_ROWS)
        parts = [cosines(vectors, block[: min(SCAN_ROWS, n - start)]) for start in rows]
        return np.concatenate(parts, axis=1).T

    on_device()
    seconds, ours = job.clock(on_device)
    job.record({"pairs": n, "width": width, "device_seconds": seconds})
    scan_seconds, theirs = job.clock(by_scan)
    difference = float(np.abs(ours - theirs).max())
    job.record({"scan_seconds": scan_seconds, "largest_difference": difference})
    job.headlines["query"] = f"{n:,} x {width}: {seconds:.2f} s, processor {scan_seconds:.2f} s"


def pipeline(job: Job) -> None:
    """Every step with the small shape, from prompts to a retrained model that is measured."""
    store = Store(job.out / "workspace")
    plan = _small_project(job, project.load(ORGANISM))
    project.save(plan, store.workspace)
    runs: dict[str, str] = {}

    def step(name: str, spec: Any) -> str:
        try:
            seconds, runs[name] = job.clock(lambda: execute(spec, store))
        except ModuleNotFoundError as error:
            job.record({name: f"left out: {error.name} is not installed"})
            return ""
        job.record({name: {"seconds": seconds, "run": runs[name]}})
        return runs[name]

    generated = step("generate", plan.generate())
    indexed = step("index", plan.index())
    contrast = step("contrast", plan.contrast(plan.contrasts[0]))
    behavior = plan.behavior(plan.contrasts[0].name)
    ranked = step("rank", plan.rank(contrast, indexed, behavior))
    step("explain", ExplainSpec(rank=ranked, top=5))
    step("discover", plan.discover(generated, indexed))
    edit = investigation.top_edit(store, ranked, "flip", k=4)
    from core.intervention.arms import edited_and_control

    arm = edited_and_control(plan, store, [edit], seeds=[0])[0]
    for spec in arm.specs():
        if not step(spec.step, spec):
            break  # what comes next needs it
    job.headlines["pipeline"] = f"{len(runs)} of 9 steps"


def _small_project(job: Job, organism: project.Project) -> project.Project:
    """The organism's texts with the small models: few pairs, and examples of a behavior."""
    pairs = pd.read_parquet(organism.pairs)[: 120 if job.tiny else 2_000]
    pairs.to_parquet(job.out / "pairs.parquet")
    examples = pairs[:24].rename(columns={"chosen": "shows", "rejected": "lacks"})
    file = job.out / "examples.jsonl"
    examples[["prompt", "shows", "lacks"]].to_json(file, orient="records", lines=True)
    for name in ("prompts", "heldout"):
        few = pd.read_json(getattr(organism, name), lines=True).groupby("group").head(6)
        few.to_json(job.out / f"{name}.jsonl", orient="records", lines=True)
    small = {
        "name": "small",
        "reference": str(job.folder()),
        "policy": str(job.out / "small-policy"),
        "pairs": str(job.out / "pairs.parquet"),
        "prompts": str(job.out / "prompts.jsonl"),
        "heldout": str(job.out / "heldout.jsonl"),
        "contrasts": (Contrast(name="by examples", examples=str(file)),),
        "overrides": {
            "generate": {"rollouts": 2, "max_new_tokens": job.size.new_tokens},
            "evaluate": {"rollouts": 2, "max_new_tokens": job.size.new_tokens},
            "index": {"layers": [1, Shape.of(job.folder()).blocks - 1]},
            "discover": {"repeats": 0, "kinds": 2},
            "train": {"checkpoints": 1, "batch_size": 8, "learning_rate": 1e-6},
        },
    }
    return organism.model_copy(update=small)


def arms(job: Job) -> None:
    """Removal and flip of the suggested pairs and their random controls, seed after seed.

    Runs have the ids that they have on any machine: copy `workspace/runs/*` beside those of
    another, and the app shows both. Ends when the time does.
    """
    from core.intervention.arms import edited_and_control

    smollm2 = environment.model_cache() / "smollm2"
    place = investigation.SMOLLM2 if smollm2.is_dir() and not job.tiny else ORGANISM
    store = Store(job.out / "workspace" / place.name)
    plan = project.load(place)
    if job.tiny:
        plan = _few_pairs(job, plan)
    project.save(plan, store.workspace)
    generated, indexed = (execute(spec, store) for spec in (plan.generate(), plan.index()))
    risen = investigation.rose(plan.behaviors, investigation.rates(store, generated))[0]
    ranked = execute(plan.rank(generated, indexed, risen), store)
    job.record({"organism": plan.name, "behavior": risen.name, "rank": ranked})
    rows: list[dict[str, Any]] = []
    for model in ("reference", "policy"):
        rows += _measured(store, model, -1, execute(plan.evaluate(getattr(plan, model)), store))
    for seed in range(job.first_seed, job.first_seed + (1 if job.tiny else 100)):
        for action in BOTH[: 1 if job.tiny else 2]:
            edit = investigation.top_edit(store, ranked, action)
            for arm in edited_and_control(plan, store, [edit], seeds=[seed]):
                runs = [execute(spec, store) for spec in arm.specs()]
                name = action if arm.name == "edited" else f"control of {action}"
                rows += _measured(store, name, seed, runs[-1])
                precision = read_record(store.output(runs[-2]) / "summary.json")["precision"]
                job.record({"rates": rows, "precision": precision})
                n_arms = len({(row["arm"], row["seed"]) for row in rows if row["seed"] >= 0})
                job.record({"headline": f"{plan.name}: {n_arms} arms retrained and measured"})


def _measured(store: Store, arm: str, seed: int, run: str) -> list[dict[str, Any]]:
    columns = ["behavior", "rate", "low", "high", "n"]
    rates = investigation.rates(store, run)[columns].to_dict(orient="records")
    return [{"arm": arm, "seed": seed, "run": run} | rate for rate in rates]


def _few_pairs(job: Job, plan: project.Project) -> project.Project:
    """A part of the organism's pairs and prompts, for a test."""
    pairs = pd.read_parquet(plan.pairs).sample(frac=job.size.share, random_state=0).sort_index()
    pairs.to_parquet(job.out / "few.parquet")
    update: dict[str, Any] = {"pairs": str(job.out / "few.parquet")}
    for name in ("prompts", "heldout"):
        prompts = pd.read_json(getattr(plan, name), lines=True)
        few = prompts[prompts["group"].isin(["harmful", "benign"])].iloc[::2]
        few.to_json(job.out / f"few-{name}.jsonl", orient="records", lines=True)
        update[name] = str(job.out / f"few-{name}.jsonl")
    behaviors = tuple(one for one in plan.behaviors if one.group in ("harmful", "benign"))
    rollouts = {"generate": {"rollouts": 4}, "evaluate": {"rollouts": 1}}
    overrides = {
        **plan.overrides,
        **rollouts,
        "train": {**plan.overrides.get("train", {}), "checkpoints": 1},
    }
    return plan.model_copy(update={**update, "behaviors": behaviors, "overrides": overrides})


def headline(job: Job, name: str) -> dict[str, str]:
    """The part's line of the table."""
    return {"headline": job.headlines[name]} if name in job.headlines else {}


PARTS: dict[str, Callable[[Job], None]] = {
    "selftest": selftest,
    "index": index,
    "training": training,
    "sampling": sampling,
    "query": query,
    "pipeline": pipeline,
    "arms": arms,
}
