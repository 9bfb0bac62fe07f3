"""EK-FAC influence: the gradient baseline, preconditioned by the curvature of the loss.

Influence functions (arXiv 2308.03296) rank by q·(F + λ)⁻¹·g_d: q the behavior's mean margin
gradient, g_d a pair's, F the Fisher matrix, here of the linear layers of the decoder blocks, each
by itself and in the eigenbasis of its Kronecker factors (EK-FAC, arXiv 1806.03884), λ a tenth of
its mean eigenvalue. At the reference a pair's DPO gradient is −β/2·g_d, +β/2·g_d were the other
completion the chosen one, so F is the second moment of g_d exactly, no label has to be sampled, and
β drops out. Divided by √(g_d·(F + λ)⁻¹·g_d), as the other gradients are by their lengths (RelatIF,
arXiv 2003.11630).

kronfluence computes it, on a copy of the model. A pair is one row, its two texts packed, so that
the moment is of the difference of their gradients. Factors stay in the folder: a killed process
resumes at the stage it was in. Needs torch and kronfluence (the extra `ekfac`).
"""

import copy
import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kronfluence.analyzer import Analyzer, prepare_model
from kronfluence.arguments import FactorArguments, ScoreArguments
from kronfluence.task import Task
from kronfluence.utils.dataset import DataLoaderKwargs
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from core.attribution.baselines.gradient import Contrast, linear_layers
from core.storage.atomic import write_atomic

BATCH = 16  # pairs to a pass
ALL = "all_modules"  # what kronfluence calls the sum over layers
IGNORED = -100  # target of tokens that are not in a completion

Batch = dict[str, Tensor]
Floats = NDArray[np.float32]


def ekfac_scores(
    model: Any,
    pairs: Sequence[Contrast],
    behavior: Sequence[Contrast],
    folder: Path,
    *,
    damping: float | None = None,
) -> Floats:
    """q·(F + λ)⁻¹·g_d / √(g_d·(F + λ)⁻¹·g_d) of each pair, (n,); F is of these pairs.

    Files in `folder` must be of this model and these pairs. `damping` is λ.
    """
    analyzer = _analyzer(model, folder)
    began = time.process_time()
    is_new = not (folder / "done.json").exists()
    factors = FactorArguments(strategy="ekfac", use_empirical_fisher=True)
    analyzer.fit_all_factors("pairs", list(pairs), BATCH, factor_args=factors)
    # new settings for each call: kronfluence changes its arguments
    analyzer.compute_self_scores(
        "own",
        "pairs",
        list(pairs),
        BATCH,
        score_args=ScoreArguments(damping_factor=damping),
    )
    if is_new:
        cost = {"cpu": time.process_time() - began}
        write_atomic(folder / "done.json", json.dumps(cost))
    analyzer.compute_pairwise_scores(
        "behavior",
        "pairs",
        query_dataset=list(behavior),
        train_dataset=list(pairs),
        per_device_query_batch_size=BATCH,
        per_device_train_batch_size=BATCH,
        score_args=ScoreArguments(damping_factor=damping, aggregate_query_gradients=True),
        overwrite_output_dir=True,
    )
    (pairwise,) = analyzer.load_pairwise_scores("behavior")[ALL]
    scores: Floats = (pairwise / analyzer.load_self_scores("own")[ALL].sqrt()).numpy()
    return scores


def packed(contrasts: Sequence[Contrast]) -> Batch:
    """One row per contrast, (n, longest): its upper text, then its lower, then padding.

    `positions` start again at every text and at every token of padding, by which transformers
    separates them. `targets` are the completions' tokens, `signs` +1 in the upper, −1 in the lower.
    """
    rows = [_row(contrast) for contrast in contrasts]
    length = max(len(row["ids"]) for row in rows)
    fill = {"ids": 0, "positions": 0, "targets": IGNORED, "signs": 0, "real": 0}
    return {
        name: torch.tensor([row[name] + [empty] * (length - len(row[name])) for row in rows])
        for name, empty in fill.items()
    }


def margins(model: Any, batch: Batch) -> Tensor:
    """log p(upper) − log p(lower) of each contrast of a packed batch, (n,)."""
    logits = model(input_ids=batch["ids"], position_ids=batch["positions"], use_cache=False).logits[
        :, :-1
    ]
    targets = batch["targets"][:, 1:]
    losses = cross_entropy(
        logits.float().transpose(1, 2), targets, reduction="none", ignore_index=IGNORED
    )
    return -(losses * batch["signs"][:, 1:]).sum(dim=1)


class Margins(Task):
    """What kronfluence differentiates: the margin, both of pairs and of the behavior."""

    def __init__(self, layers: list[str]) -> None:
        self.layers = layers

    def compute_train_loss(self, batch: Batch, model: nn.Module, sample: bool = False) -> Tensor:
        """Sum of margins over the batch; there is no label to sample (see the module)."""
        return margins(model, batch).sum()

    def compute_measurement(self, batch: Batch, model: nn.Module) -> Tensor:
        """Sum of margins over the batch."""
        return margins(model, batch).sum()

    def get_influence_tracked_modules(self) -> list[str]:
        """Names of the linear layers."""
        return self.layers

    def get_attention_mask(self, batch: Batch) -> Tensor:
        """1 at tokens that are not padding, (n, longest)."""
        return batch["real"]


def _analyzer(model: Any, folder: Path) -> Any:
    copied = copy.deepcopy(model)  # its layers are replaced
    linear = {id(layer) for _, layer in linear_layers(copied)}
    layers = [name for name, module in copied.named_modules() if id(module) in linear]
    task = Margins(layers)
    logging.getLogger("kronfluence").setLevel(logging.ERROR)
    analyzer = Analyzer(
        folder.name,
        prepare_model(copied, task),
        task,
        cpu=next(model.parameters()).device.type == "cpu",
        log_level=None,  # a level here is also set for the root logger, of the whole process
        disable_tqdm=True,
        output_dir=str(folder.parent),
    )
    analyzer.set_dataloader_kwargs(DataLoaderKwargs(collate_fn=packed))
    return analyzer


def _row(contrast: Contrast) -> dict[str, list[int]]:
    row: dict[str, list[int]] = {"ids": [], "positions": [], "targets": [], "signs": []}
    for completion, sign in ((contrast.upper, 1), (contrast.lower, -1)):
        text = [*contrast.prompt, *completion]
        row["ids"] += text
        row["positions"] += range(len(text))
        row["targets"] += [IGNORED] * len(contrast.prompt) + list(completion)
        row["signs"] += [sign] * len(text)
    return row | {"real": [1] * len(row["ids"])}
