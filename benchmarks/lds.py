"""Do scores foretell retraining? Linear datamodeling scores and tail-patches of every method.

LDS: the reference is retrained on random halves of the pairs, each with its complement; a method's
sum of scores over a half is compared with the behavior's margin in the model that came out. The
retrainings are runs of the workspace, made once. Tail-patch: one DPO step on the `TOP` best of each
method, change of the margin in nats; `random` says what any step does. The truth is not read.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.methods import organism_of, prepare
from core.attribution.datamodels import lds, subsets
from core.attribution.gradient import Contrast
from core.attribution.methods import METHODS, behavior_contrasts, pair_contrasts
from core.attribution.tail_patch import mean_margin, tail_patch
from core.attribution.vectors import passing_prompts
from core.data.pairs import read_pairs, write_pairs
from core.errors import UserError
from core.models.loading import load_model
from core.runs import environment, project
from core.runs.execution import execute
from core.runs.specs import TrainSpec
from core.runs.store import Store

SUBSETS, SHARE = 12, 0.5
TOP = 64  # pairs of a tail-patch step
# dear, and near the ones that are here
SKIPPED = ("gradient, two checkpoints", "gradient, LoRA, two checkpoints")

Masks = np.ndarray


def run(world: str | None = None) -> dict[str, Any]:
    """LDS with its interval, and tail-patch, of each method for each unwanted behavior."""
    torch.set_num_threads(1)
    store = Store(environment.default_workspace())
    known = project.load(organism_of(world, store.workspace))
    runs = execute(known.generate(), store), execute(known.index(), store)
    table = pd.read_parquet(store.output(runs[0]) / "completions.parquet")
    uids = read_pairs(known.pairs).pairs["uid"].to_numpy(str)
    masks = subsets(len(uids), count=SUBSETS, share=SHARE, seed=0)
    models = _retrained(known, store, masks)
    found = []
    for behavior in known.behaviors:
        if behavior.wanted:
            continue
        try:
            passing = passing_prompts(table, behavior).prompt_ids
        except UserError:  # nothing to attribute
            continue
        prepared = prepare(known, store, runs, behavior, table, passing)
        material = prepared.material
        place = pd.Series(np.arange(len(uids)), index=uids)
        own = masks[:, place[material.pairs["uid"]].to_numpy()]
        wanted = behavior_contrasts(material)
        outcomes = np.array([mean_margin(model, wanted) for model in models])
        contrasts = pair_contrasts(material)
        rows = []
        for name, method in METHODS.items():
            if name in SKIPPED:
                continue
            scores = method.rank(material)
            score = lds(scores, own, outcomes)
            top = _best(scores, contrasts)
            step = known.train("", seed=0)
            change = tail_patch(
                material.checkpoints[0][1],
                top,
                wanted,
                beta=step.beta,
                learning_rate=step.learning_rate,
            )
            rows.append({"method": name, "lds": score._asdict(), "tail_patch": change})
        found.append(
            {
                "behavior": behavior.name,
                "n_prompts": len(passing),
                "margins": outcomes.round(3).tolist(),
                "methods": rows,
            }
        )
    return {"world": known.name, "subsets": SUBSETS, "share": SHARE, "behaviors": found}


def _retrained(known: project.Project, store: Store, masks: Masks) -> list[Any]:
    """One model per subset, from the workspace's bank of runs."""
    pairs = read_pairs(known.pairs).pairs
    folder = store.workspace / "cache" / "subsets"
    folder.mkdir(parents=True, exist_ok=True)
    models = []
    for number, mask in enumerate(masks):
        path = folder / f"{known.name}-{number}.parquet"
        write_pairs(pairs[mask], path)
        run = execute(_training(known, path), store)
        models.append(load_model(store.output(run) / "model").model)
    return models


def _training(known: project.Project, path: Path) -> TrainSpec:
    return known.train(str(path), seed=0)


def _best(scores: np.ndarray, contrasts: Sequence[Contrast]) -> list[Contrast]:
    order = np.argsort(-np.where(np.isnan(scores), -np.inf, scores), kind="stable")
    return [contrasts[row] for row in order[:TOP]]
