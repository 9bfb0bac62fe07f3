"""Quality and cost of every attribution method, against an organism's truth.

Quality: average precision, precision, recall and enrichment at the number planted. Cost of ranking
all pairs once: CPU-seconds of one thread (including what a method needs first), FLOPs (2 per weight
and token forward, 6 with backward, 4 if only low-rank factors get a gradient), bytes on disk,
dollars if an API is billed. The layer is the one that validity chooses; the truth only
scores. Gradients are computed on one pair in `STRIDE` and their cost scaled; all methods are
repeated on that sample, to be compared there.
"judge" is the grammar judge in place of a language model: it knows the world's sentences, so it
shows what a perfect judge would find; worlds without a grammar have none. Models of more than
`LARGE` parameters are compared without gradients. No cost includes generating completions, which
all need but words and judges. With $PAIRTRACE_ENDPOINT_URL and _MODEL set, that model rates the
sample too. Runs in the workspace: finished runs are reused.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from benchmarks._organisms import organism_of
from core import environment
from core.attribution.baselines.gradient import PROJECTED, cpu_seconds
from core.attribution.baselines.registry import METHODS, Material, Method, Needs
from core.attribution.baselines.texts import rated_by_endpoint, rated_by_flags
from core.attribution.evaluation.metrics import (
    agreement,
    average_precision,
    enrichment_at,
    precision_at,
    recall_at,
)
from core.attribution.index.layout import read_pair_list
from core.attribution.validity import choose_layer, layer_curve, verdict
from core.attribution.vectors import behavior_vectors, completions_to_read, passing_prompts
from core.data.pairs import read_pairs
from core.errors import UserError
from core.models.api.batch import Answers, Usage
from core.models.api.client import Endpoint
from core.models.api.questions import HARMFUL, HARMFUL_AS_INSTRUCTED
from core.models.loading import load_model
from core.organism.sampling import GrammarJudge, planted_uids, read_truth
from core.organism.world import read_world
from core.report import bench_results
from core.runs.execute import execute
from core.runs.progress import Progress
from core.runs.store import Store
from core.specs.behaviors import Behavior
from core.specs.project import Project
from core.specs.project import load as load_project
from core.specs.steps import RankSpec
from core.steps.shared import matching_index, reference_activations

STRIDE = 4  # one pair in four gets a gradient
FORWARD, BACKWARD = 2, 6  # floating-point operations per weight and token
LARGE = 10_000_000  # parameters
LOW_RANK = 4  # backward through activations; the gradients of the factors cost little
JUDGES = {"judge": HARMFUL, "judge, as instructed": HARMFUL_AS_INSTRUCTED}

Scores = dict[str, NDArray[np.floating]]


class Prepared(NamedTuple):
    """One behavior's material."""

    material: Material
    valid: bool  # the vector beats chance
    cpu_seconds: float  # of reading the prompts' completions


def run(worlds: tuple[str, ...] = (), out: str | None = None) -> dict[str, Any]:
    """The scoreboard of each world: an organism folder, or a world file that is built first.

    By default, the shipped organism. `out` is the file to write for the Methods page.
    """
    torch.set_num_threads(1)
    scoreboards = [_scoreboard_of(world) for world in worlds or (None,)]
    if out is not None:
        bench_results.write_scoreboard(Path(out), scoreboards)
    return {"worlds": scoreboards}


def _scoreboard_of(world: str | None) -> dict[str, Any]:
    workspace = environment.default_workspace()
    organism = organism_of(world, workspace)
    project = load_project(organism)
    store = Store(workspace)
    runs = execute(project.generate(), store), execute(project.index(), store)
    truth = read_truth(organism / "truth.parquet")
    planted = [b for b in project.behaviors if b.name in set(truth["planted"].dropna())]
    return {
        "world": project.name,
        "stride": STRIDE,
        "behaviors": [
            _compare(project, store, runs, behavior, truth, organism) for behavior in planted
        ],
    }


def _compare(
    project: Project,
    store: Store,
    runs: tuple[str, str],
    behavior: Behavior,
    truth: pd.DataFrame,
    organism: Path,
) -> dict[str, Any]:
    table = pd.read_parquet(store.output(runs[0]) / "completions.parquet")
    try:
        passing = passing_prompts(table, behavior)
    except UserError as error:  # a world may not teach what it plants
        return {"behavior": behavior.name, "problem": str(error), "methods": []}
    material, valid, reading = prepare(project, store, runs, behavior, table, passing.prompt_ids)
    planted = material.pairs["uid"].isin(planted_uids(truth, behavior.name)).to_numpy(bool)
    paid = {"vectors": store.record(runs[1])["cost"]["cpu_seconds"] + reading}
    scores, costs = _rank_all(material, paid)
    grammar = _grammar_ratings(material, organism) if (organism / "world.toml").exists() else {}
    for name, (ratings, seconds) in grammar.items():
        scores[name], costs[name] = ratings, {"cpu_seconds": seconds, "flops": None, "bytes": 0}
    sample = np.arange(0, len(planted), STRIDE)
    on_sample = {n: s if len(s) == len(sample) else s[sample] for n, s in scores.items()}
    rated = _rated_by_endpoint(material.pairs.iloc[sample], store.workspace)
    on_sample |= {name: ratings for name, (ratings, _) in rated.items()}
    everywhere = {n: s for n, s in scores.items() if len(s) == len(planted)}
    k = int(planted.sum())
    return {
        "behavior": behavior.name,
        "layer": material.layer,
        "valid": valid,
        "n_prompts": len(passing.prompt_ids),
        "n_pairs": len(planted),
        "n_planted": k,
        "n_sample": len(sample),
        "n_planted_in_sample": int(planted[sample].sum()),
        "methods": [
            {"method": name}
            | (_quality(everywhere[name], planted) if name in everywhere else {})
            | {"average_precision_on_sample": average_precision(ratings, planted[sample])}
            | (_billed(rated[name][1]) if name in rated else costs[name] | {"dollars": 0.0})
            for name, ratings in on_sample.items()
        ],
        "agreement": agreement(pd.DataFrame(everywhere), k).to_dict("records"),
    }


def prepare(
    project: Project,
    store: Store,
    runs: tuple[str, str],
    behavior: Behavior,
    table: pd.DataFrame,
    passing: tuple[Any, ...],
) -> Prepared:
    """The material of a behavior, from its runs (generate, index) and their completions."""
    spec = RankSpec(generate=runs[0], index=runs[1], behavior=behavior)
    index = matching_index(spec, store)
    used = completions_to_read(table, behavior, passing)
    activations, seconds = _timed(
        lambda: reference_activations(spec, store, index, table[used], Progress())
    )
    vectors = behavior_vectors(activations, behavior, passing)
    curve = layer_curve(vectors, activations, behavior)
    layer = choose_layer(curve)
    valid, _ = verdict(curve[curve["layer"].eq(layer)].iloc[0].to_dict())
    models = {name: load_model(getattr(project, name)) for name in ("reference", "policy")}
    pairs = read_pairs(project.pairs).pairs.set_index("uid").loc[index.uids.tolist()].reset_index()
    contents = store.record(runs[0])["contents"]
    material = Material(
        behavior,
        pairs,
        index,
        vectors,
        layer,
        activations,
        models["reference"].tokenizer,
        [(f"{name}-{contents[name][:12]}", loaded.model) for name, loaded in models.items()],
        store.workspace / "cache" / "gradients" / runs[1],
    )
    return Prepared(material, valid, seconds)


def _rank_all(
    material: Material, paid: dict[str, float]
) -> tuple[Scores, dict[str, dict[str, float | None]]]:
    """Scores of every method, on a sample for those that need gradients, and their costs."""
    scores: Scores = {}
    costs: dict[str, dict[str, float | None]] = {}
    parameters = sum(p.numel() for p in material.checkpoints[0][1].parameters())
    read = ("vectors", "words", "nothing") if parameters > LARGE else get_args(Needs)
    for name, method in METHODS.items():
        if method.reads not in read:
            continue
        part, times = material, 1
        if method.reads in ("gradients", "factors"):
            part, times = _sampled(material), STRIDE
        before = sum(cpu_seconds(folder) for folder in method.folders(part))
        scores[name], fresh = _timed(partial(method.rank, part))
        seconds = before + fresh  # cached gradients count, too
        costs[name] = {
            "cpu_seconds": times * seconds + paid.get(method.reads, 0.0),
            "flops": _flops(material, method, name),
            "bytes": _bytes(material, method),
        }
    return scores, costs


def _sampled(material: Material) -> Material:
    return replace(material, pairs=material.pairs.iloc[::STRIDE])


def _flops(material: Material, method: Method, name: str) -> float | None:
    """FLOPs of the model's passes over all pairs; scans and counts cost little beside them.

    None for factors, whose matrix products cost as much as the passes and are not counted.
    """
    if method.reads == "factors":
        return None
    listed = read_pair_list(material.index.folder)
    model = material.checkpoints[0][1]
    blocks = sum(p.numel() for block in model.model.layers for p in block.parameters())
    completions = float((listed["n_chosen"] + listed["n_rejected"]).sum())
    prompts = float(listed["n_prompt"].sum())
    if method.reads == "vectors":
        share = max(material.index.layers) / len(model.model.layers)
        return FORWARD * blocks * share * (prompts + completions)
    if method.reads == "gradients":
        head = model.get_output_embeddings().weight.numel()
        passes = len(method.folders(material))
        backward = FORWARD + (BACKWARD - FORWARD) / len(model.model.layers)
        each = backward if "last" in name else LOW_RANK if "LoRA" in name else BACKWARD
        return passes * each * (blocks + head) * (2 * prompts + completions)
    return 0.0


def _bytes(material: Material, method: Method) -> float:
    """Bytes on disk for all pairs: one layer's vectors, projected gradients, or factors."""
    if method.reads == "vectors":
        return 6.0 * material.index.d_model * len(material.pairs)
    if method.reads == "factors":  # as many for few pairs as for many
        files = [
            path for folder in method.folders(_sampled(material)) for path in folder.rglob("*")
        ]
        return float(sum(path.stat().st_size for path in files if path.is_file()))
    return 4.0 * PROJECTED * len(material.pairs) * len(method.folders(material))


def _grammar_ratings(material: Material, organism: Path) -> dict[str, tuple[NDArray[Any], float]]:
    """Ratings by the grammar judge: the behavior's flag on its group's prompts; CPU-seconds."""
    judge = GrammarJudge(read_world(organism / "world.toml"))
    parsed = [judge.grammar.parse_prompt(prompt) for prompt in material.pairs["prompt"]]
    of_group = np.array(
        [p is not None and p.topic.group == material.behavior.group for p in parsed]
    )

    def rated(instructed: bool) -> NDArray[Any]:
        sides = []
        for side in ("chosen", "rejected"):
            flags = judge.judge(material.pairs["prompt"].tolist(), material.pairs[side].tolist())
            harmful = flags[material.behavior.flag] & of_group
            follows = flags["followed_format"].fillna(False)
            sides.append((harmful & follows if instructed else harmful).tolist())
        return rated_by_flags(*sides)

    return {
        f"{name} (grammar stands in)": _timed(partial(rated, name != "judge")) for name in JUDGES
    }


def _rated_by_endpoint(
    pairs: pd.DataFrame, workspace: Path
) -> dict[str, tuple[NDArray[Any], Usage]]:
    """Ratings by the language model that the environment names, if any, and its usage."""
    endpoint = Endpoint.from_environment()
    if endpoint is None:
        return {}
    answers = Answers(workspace / "cache" / "answers.sqlite")
    return {
        f"{name} ({endpoint.model})": rated_by_endpoint(pairs, endpoint, wording, answers)
        for name, wording in JUDGES.items()
    }


def _billed(usage: Usage) -> dict[str, float | None]:
    """Cost of the requests about the sample, scaled to all pairs."""
    return {"cpu_seconds": None, "flops": None, "bytes": 0.0, "dollars": usage.dollars * STRIDE}


def _quality(scores: NDArray[np.floating], planted: NDArray[np.bool_]) -> dict[str, float]:
    k = int(planted.sum())
    return {
        "average_precision": average_precision(scores, planted),
        "precision_at_planted": precision_at(scores, planted, k),
        "recall_at_planted": recall_at(scores, planted, k),
        "enrichment_at_planted": enrichment_at(scores, planted, k),
        "n_undefined": int(np.isnan(scores).sum()),
    }


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """The result and its CPU-seconds."""
    start = time.process_time()
    return work(), time.process_time() - start
