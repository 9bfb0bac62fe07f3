"""The evaluate step: the rate of every behavior of one model, steered if asked."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from core.data.prompts import expand, read_prompts
from core.intervention.evaluation.judges import cost, load_judge
from core.intervention.evaluation.leakage import refuse_leaks
from core.intervention.evaluation.rates import judged, rates
from core.models.loading import load_model
from core.models.residual import projecting_out, steering
from core.runs.progress import Progress
from core.runs.store import Store
from core.specs.steps import EvaluateSpec
from core.steps.generate import completions_of, sampled_once, write_measurement
from core.storage.tables import arrays


def run(spec: EvaluateSpec, *, store: Store, output: Path, progress: Progress) -> None:
    """Write `completions.parquet`, `rates.parquet` and `summary.json`."""
    judge = load_judge(spec.judge)
    sent = expand(read_prompts(spec.prompts))
    refuse_leaks(spec, sent, store)
    sampled = sampled_once(output, lambda: _sampled(spec, sent, store, progress))
    completions = judged(sampled, judge)
    measured = rates(completions, spec.behaviors)
    write_measurement(output, completions, measured, cost(judge), sampled.attrs.get("dtype"))


def _sampled(
    spec: EvaluateSpec, sent: pd.DataFrame, store: Store, progress: Progress
) -> pd.DataFrame:
    loaded = load_model(store.model(spec.model), dtype=spec.dtype)
    with _steered(loaded.model, spec, store):
        return completions_of(loaded, sent, spec, progress).assign(model="evaluated")


@contextmanager
def _steered(model: Any, spec: EvaluateSpec, store: Store) -> Iterator[None]:
    """The model as the spec wants it: plain, or changed at the layer the vector was read from."""
    if spec.vector is None:
        yield
        return
    vectors = arrays(store.output(spec.vector) / "vectors.npz")
    layer, vector = int(vectors["layer"]), torch.from_numpy(vectors["pooled"])
    if spec.steering == "add":
        change = steering(model, layer, vector, spec.coefficient)
    else:
        change = projecting_out(model, layer, vector)
    with change:
        yield
