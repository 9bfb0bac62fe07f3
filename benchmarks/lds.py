"""Do scores foretell retraining? Linear datamodeling scores and tail-patches of every method.

LDS: the reference is retrained on random halves of the pairs; a method's sum of scores over a half
is compared with the behavior's margin in the model that came out, and every method with the default
on the same halves. The retrainings are runs of the workspace, made once. Tail-patch: one DPO step
on the `TOP` best of each method, change of the margin in nats; `random` says what any step does.
The truth is not read.
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
from core.attribution.evaluation.lds import lds, lds_difference, subsets
from core.attribution.evaluation.tail_patch import mean_margin, tail_patch
from core.attribution.vectors import passing_prompts
from core.data.canonical import write_pairs
from core.data.pairs import read_pairs
from core.errors import UserError
from core.models.loading import load_model
from core.runs.execute import execute
from core.runs.store import Store
from core.specs import project
from core.specs.behaviors import DEFAULT_SCORE
from core.specs.steps import TrainSpec

SUBSETS, SHARE = 48, 0.5  # an interval of ±.1 around ρ = .4 would take 290 (Fisher's z)
TOP = 64  # pairs of a tail-patch step
SKIPPED = [name for name in METHODS if name.startswith("gradient, ")]  # dear; the whole one is in

Array = np.ndarray


def run(world: str | None = None) -> dict[str, Any]:
    """LDS with its interval, and tail-patch, of each method for each unwanted behavior."""
    torch.set_num_threads(1)
    store = Store(environment.default_workspace())
    known = project.load(organism_of(world, store.workspace))
    materials = _materials(known, store)
    uids = read_pairs(known.pairs).pairs["uid"].to_numpy(str)
    masks = subsets(len(uids), count=SUBSETS, share=SHARE, seed=0)
    wanted = [behavior_contrasts(material) for material in materials]
    margins = np.array(
        [[mean_margin(model, one) for one in wanted] for model in _retrained(known, store, masks)]
    )  # (subset, behavior)
    place = pd.Series(np.arange(len(uids)), index=uids)
    return {
        "world": known.name,
        "subsets": SUBSETS,
        "share": SHARE,
        "behaviors": [
            {
                "behavior": material.behavior.name,
                "n_prompts": len(contrasts),
                "margins": own.round(3).tolist(),
                "methods": _compare(
                    material,
                    contrasts,
                    masks[:, place[material.pairs["uid"]].to_numpy()],
                    own,
                    known.train("", seed=0),
                ),
            }
            for material, contrasts, own in zip(materials, wanted, margins.T, strict=True)
        ],
    }


def _materials(known: project.Project, store: Store) -> list[Material]:
    """Of every unwanted behavior that there is anything to attribute of."""
    runs = execute(known.generate(), store), execute(known.index(), store)
    table = pd.read_parquet(store.output(runs[0]) / "completions.parquet")
    found = []
    for behavior in known.behaviors:
        if behavior.wanted:
            continue
        try:
            passing = passing_prompts(table, behavior).prompt_ids
        except UserError:
            continue
        found.append(prepare(known, store, runs, behavior, table, passing).material)
    return found


def _retrained(known: project.Project, store: Store, masks: Array) -> Iterator[Any]:
    """One model per subset, from the workspace's bank of runs."""
    pairs = read_pairs(known.pairs).pairs
    folder = store.workspace / "cache" / "subsets"
    folder.mkdir(parents=True, exist_ok=True)
    for number, mask in enumerate(masks):
        path = folder / f"{known.name}-{number}.parquet"
        write_pairs(pairs[mask], path)
        run = execute(known.train(str(path), seed=0), store)
        yield load_model(store.output(run) / "model").model


def _compare(
    material: Material,
    wanted: Sequence[Contrast],
    masks: Array,
    margins: Array,
    step: TrainSpec,
) -> list[dict[str, Any]]:
    """A row per method; `less_default` is its LDS less that of the default order."""
    contrasts = pair_contrasts(material)
    ranked = {n: method.rank(material) for n, method in METHODS.items() if n not in SKIPPED}
    rows = []
    for name, scores in ranked.items():
        change = tail_patch(
            material.checkpoints[0][1],
            _best(scores, contrasts),
            wanted,
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


def _best(scores: Array, contrasts: Sequence[Contrast]) -> list[Contrast]:
    order = np.argsort(-np.where(np.isnan(scores), -np.inf, scores), kind="stable")
    return [contrasts[row] for row in order[:TOP]]
