"""The evaluate step: the rate of every behavior of one model, steered or not."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from core.data.completions import ONE_MODEL, flags_of, read_completions
from core.data.conditions import read_sent
from core.errors import UserError
from core.intervention.evaluation.judges import cost, load_judge
from core.intervention.evaluation.rates import judged, rates, refuse_leaks, refuse_unmeasurable
from core.models.loading import load_model
from core.models.residual import projecting_out, steering
from core.runs.progress import Progress
from core.runs.store import Store
from core.specs.steps import EvaluateSpec
from core.steps.shared import (
    refuse_system_prompts,
    sample_completions,
    sampled_once,
    served_completions,
    write_measurement,
)
from core.storage.tables import arrays


def run(spec: EvaluateSpec, *, store: Store, output: Path, progress: Progress) -> None:
    """Write `completions.parquet`, `rates.parquet` and `summary.json`."""
    judge = load_judge(spec.judge)
    if spec.behaviors and not judge.flags:
        raise UserError("evaluate: nothing is measured without a judge (docs/judges.md).")
    if spec.completions and spec.vector:
        raise UserError("evaluate: existing completions cannot be steered. Leave one of them out.")
    if spec.sampler == "openai" and spec.vector:
        raise UserError("evaluate: a served model cannot be steered. Add --sampler hf.")
    prompts = read_sent(spec.prompts, spec.conditions)
    refuse_unmeasurable(prompts, judge.flags, spec.behaviors)
    if spec.behaviors:  # else prompts are only tried
        refuse_leaks(spec, prompts, store)
    refuse_system_prompts(spec, [spec.model] * (not spec.completions), store)
    if spec.completions is None:
        sampled = sampled_once(output, lambda: _sampled(spec, prompts, store, output, progress))
    else:
        sampled = read_completions(Path(spec.completions), prompts, ONE_MODEL)
        sampled = sampled.drop(columns=flags_of(sampled))  # one judge measures every model
    completions = judged(sampled, judge)
    measured = rates(completions, spec.behaviors)
    write_measurement(output, completions, measured, cost(judge), sampled.attrs)


def _sampled(
    spec: EvaluateSpec, prompts: pd.DataFrame, store: Store, output: Path, progress: Progress
) -> pd.DataFrame:
    if spec.sampler == "openai":
        models = {"evaluated": (store.model(spec.model), spec.url)}
        return served_completions(models, prompts, spec, output, progress)
    loaded = load_model(store.model(spec.model), dtype=spec.dtype)
    with _steered(loaded.model, spec, store):
        return sample_completions(loaded, prompts, spec, progress).assign(model="evaluated")


def _steered(model: Any, spec: EvaluateSpec, store: Store) -> AbstractContextManager[None]:
    """Steers the model as the spec says, at the layer that the vector was read from."""
    if spec.vector is None:
        return nullcontext()
    vectors = arrays(store.output(spec.vector) / "vectors.npz")
    layer, vector = int(vectors["layer"]), torch.from_numpy(vectors["pooled"])
    if spec.steering == "add":
        return steering(model, layer, vector, spec.coefficient)
    return projecting_out(model, layer, vector)
