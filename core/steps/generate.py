"""The generate step: both models' completions of every prompt, judged."""

from pathlib import Path

import pandas as pd

from core.data.completions import flags_of, read_completions
from core.data.conditions import read_sent
from core.intervention.evaluation.judges import cost, load_judge
from core.intervention.evaluation.rates import every_behavior, judged, rates
from core.models.loading import load_model
from core.runs.progress import Progress
from core.runs.store import Store
from core.specs.steps import GenerateSpec
from core.steps.shared import (
    refuse_system_prompts,
    sample_completions,
    sampled_once,
    served_completions,
    write_measurement,
)


def run(spec: GenerateSpec, *, store: Store, output: Path, progress: Progress) -> None:
    """Write `completions.parquet`, `rates.parquet` and `summary.json`."""
    judge = load_judge(spec.judge)
    prompts = read_sent(spec.prompts, spec.conditions)
    refuse_system_prompts(spec, [spec.reference, *[spec.policy] * (not spec.completions)], store)
    if spec.completions is None:
        sampled = sampled_once(output, lambda: _sampled(spec, prompts, store, output, progress))
        completions, sampling = judged(sampled, judge), sampled.attrs
        flags = list(judge.flags)
    else:
        sampling = {}
        completions = read_completions(Path(spec.completions), prompts)
        flags = list(flags_of(completions))
        if not flags:
            completions, flags = judged(completions, judge), list(judge.flags)
    measured = rates(completions, every_behavior(prompts, flags))
    write_measurement(output, completions, measured, cost(judge), sampling)
    progress(len(completions), len(completions), "judged")


def _sampled(
    spec: GenerateSpec, prompts: pd.DataFrame, store: Store, output: Path, progress: Progress
) -> pd.DataFrame:
    """What reference and policy write: one after the other, or at the same time where served."""
    if spec.sampler == "openai":
        models = {
            "reference": (store.model(spec.reference), spec.url),
            "policy": (store.model(spec.policy), spec.policy_url or spec.url),
        }
        return served_completions(models, prompts, spec, output, progress)
    per_model = len(prompts) * spec.rollouts
    tables = []
    for start, name in ((0, "reference"), (per_model, "policy")):
        loaded = load_model(store.model(getattr(spec, name)), dtype=spec.dtype)

        def report(done: int, _: int, note: str, start: int = start, name: str = name) -> None:
            progress(start + done, 2 * per_model, f"{note} of the {name}")

        tables.append(sample_completions(loaded, prompts, spec, report).assign(model=name))
    return pd.concat(tables, ignore_index=True)
