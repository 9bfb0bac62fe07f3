"""Linear datamodeling score (LDS) and tail-patch of every method: do scores predict retraining?

LDS: the reference is retrained on random halves of the pairs; a method's sum of scores over a half
is correlated with the behavior's margin in the retrained model, and compared with the default's on
the same halves. The retrainings are runs of the workspace, made once. Tail-patch: one DPO step on
the top `TOP` pairs of each method, change of the margin in nats; `random` is the control. The truth
is not read.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks._organisms import organism_of
from benchmarks.methods import prepare
from core import environment
from core.attribution.baselines.gradient import Contrast
from core.attribution.baselines.registry import (
    METHODS,
    Material,
    behavior_contrasts,
    pair_contrasts,
)
from core.attribution.evaluation.counterfactual import (
    lds,
    lds_difference,
    mean_margin,
    subsets,
    tail_patch,
)
from core.attribution.vectors import passing_prompts
from core.data.canonical import write_pairs
from core.data.pairs import read_pairs
from core.errors import UserError
from core.models.loading import load_model
from core.runs.execute import execute
from core.runs.store import Store
from core.specs.behaviors import DEFAULT_SCORE
from core.specs.project import Project
from core.specs.project import load as load_project
from core.specs.steps import TrainSpec

SUBSETS, SHARE = 48, 0.5  # an interval of ±.1 around ρ = .4 would take 290 (Fisher's z)
TOP = 64  # pairs of a tail-patch step
SKIPPED = [
    name for name in METHODS if name.startswith("gradient, ")
]  # expensive; `gradient` stands for them

Array = np.ndarray


def run(world: str | None = None) -> dict[str, Any]:
    """LDS with its interval, and tail-patch, of each method for each unwanted behavior."""
    torch.set_num_threads(1)
    store = Store(environment.default_workspace())
    project = load_project(organism_of(world, store.workspace))
    materials = _materials(project, store)
    uids = read_pairs(project.pairs).pairs["uid"].to_numpy(str)
    masks = subsets(len(uids), count=SUBSETS, share=SHARE, seed=0)
    targets = [behavior_contrasts(material) for material in materials]
    margins = np.array(
        [[mean_margin(model, t) for t in targets] for model in _retrained(project, store, masks)]
    )  # (subset, behavior)
    row_of = pd.Series(np.arange(len(uids)), index=uids)
    return {
        "world": project.name,
        "subsets": SUBSETS,
        "share": SHARE,
        "behaviors": [
            {
                "behavior": material.behavior.name,
                "n_prompts": len(contrasts),
                "margins": outcomes.round(3).tolist(),
                "methods": _compare(
                    material,
                    contrasts,
                    masks[:, row_of[material.pairs["uid"]].to_numpy()],
                    outcomes,
                    project.train("", seed=0),
                ),
            }
            for material, contrasts, outcomes in zip(materials, targets, margins.T, strict=True)
        ],
    }


def _materials(project: Project, store: Store) -> list[Material]:
    """Material of every unwanted behavior that some prompt shows."""
    runs = execute(project.generate(), store), execute(project.index(), store)
    table = pd.read_parquet(store.output(runs[0]) / "completions.parquet")
    materials = []
    for behavior in project.behaviors:
        if behavior.wanted:
            continue
        try:
            passing = passing_prompts(table, behavior).prompt_ids
        except UserError:
            continue
        materials.append(prepare(project, store, runs, behavior, table, passing).material)
    return materials


def _retrained(project: Project, store: Store, masks: Array) -> Iterator[Any]:
    """One model per subset, from the workspace's bank of runs."""
    pairs = read_pairs(project.pairs).pairs
    folder = store.workspace / "cache" / "subsets"
    folder.mkdir(parents=True, exist_ok=True)
    for number, mask in enumerate(masks):
        path = folder / f"{project.name}-{number}.parquet"
        write_pairs(pairs[mask], path)
        run = execute(project.train(str(path), seed=0), store)
        yield load_model(store.output(run) / "model").model


def _compare(
    material: Material,
    target: Sequence[Contrast],
    masks: Array,
    margins: Array,
    step: TrainSpec,
) -> list[dict[str, Any]]:
    """A row per method; `less_default` is its LDS minus that of the default score."""
    contrasts = pair_contrasts(material)
    ranked = {n: method.rank(material) for n, method in METHODS.items() if n not in SKIPPED}
    rows = []
    for name, scores in ranked.items():
        change = tail_patch(
            material.checkpoints[0][1],
            _top(scores, contrasts),
            target,
            beta=step.beta,
            learning_rate=step.learning_rate,
        )
        rows.append(
            {
                "method": name,
                "lds": lds(scores, masks, margins)._asdict(),
                "less_default": lds_difference(
                    scores, ranked[DEFAULT_SCORE], masks, margins
                )._asdict(),
                "tail_patch": change,
            }
        )
    return rows


def _top(scores: Array, contrasts: Sequence[Contrast]) -> list[Contrast]:
    order = np.argsort(-np.where(np.isnan(scores), -np.inf, scores), kind="stable")
    return [contrasts[row] for row in order[:TOP]]
