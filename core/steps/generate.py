"""The generate step: both models' completions of every prompt, judged."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from core.data.completions import flags_of, read_completions
from core.data.prompts import expand, read_prompts
from core.intervention.evaluation.judges import cost, load_judge
from core.intervention.evaluation.rates import every_behavior, judged, rates
from core.models.devices import in_words
from core.models.generation import Report, sample
from core.models.loading import LoadedModel, load_model
from core.runs.progress import Progress
from core.runs.store import Store
from core.specs.steps import EvaluateSpec, GenerateSpec
from core.storage.atomic import write_atomic, writing_atomic
from core.storage.tables import whole

SAMPLED = "sampled.parquet"  # completions that are not judged yet


def run(spec: GenerateSpec, *, store: Store, output: Path, progress: Progress) -> None:
    """Write `completions.parquet`, `rates.parquet` and `summary.json`."""
    judge = load_judge(spec.judge)
    sent = expand(read_prompts(spec.prompts))
    if spec.completions is None:
        sampled = sampled_once(output, lambda: _sampled(spec, sent, store, progress))
        completions, dtype = judged(sampled, judge), sampled.attrs.get("dtype")
        flags = list(judge.flags)
    else:
        dtype = None
        completions = read_completions(Path(spec.completions), sent)
        flags = list(flags_of(completions))
        if not flags:
            completions, flags = judged(completions, judge), list(judge.flags)
    measured = rates(completions, every_behavior(sent, flags))
    write_measurement(output, completions, measured, cost(judge), dtype)
    progress(len(completions), len(completions), "judged")


def _sampled(
    spec: GenerateSpec, sent: pd.DataFrame, store: Store, progress: Progress
) -> pd.DataFrame:
    """What reference and policy write, one after the other."""
    total = 2 * len(sent) * spec.rollouts
    tables = []
    for place, name in enumerate(("reference", "policy")):
        loaded = load_model(store.model(getattr(spec, name)), dtype=spec.dtype)
        before = place * total // 2

        def report(
            done: int, _total: int, note: str, before: int = before, name: str = name
        ) -> None:
            progress(before + done, total, f"{note} of the {name}")

        tables.append(completions_of(loaded, sent, spec, report).assign(model=name))
    return pd.concat(tables, ignore_index=True)


def sampled_once(output: Path, sample: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """What the models wrote, kept until it is judged: a judge may fail where no model did."""
    path = output / SAMPLED
    if not path.exists():
        with writing_atomic(path) as part:
            sample().to_parquet(part, index=False)
    return whole(path)


def completions_of(
    loaded: LoadedModel, sent: pd.DataFrame, spec: GenerateSpec | EvaluateSpec, report: Report
) -> pd.DataFrame:
    """One row per text that is sent and rollout: the columns of `sent`, then what came back.

    Its attribute `dtype` is the arithmetic that it was sampled in.
    """
    drawn = sample(
        loaded,
        sent["prompt"].tolist(),
        rollouts=spec.rollouts,
        temperature=spec.temperature,
        max_new_tokens=spec.max_new_tokens,
        seed=spec.seed,
        progress=report,
    )
    repeated = sent.loc[sent.index.repeat(spec.rollouts)].reset_index(drop=True)
    found = repeated.join(drawn.drop(columns="prompt"))
    found.attrs["dtype"] = in_words(loaded.model.dtype)
    return found


def write_measurement(
    output: Path,
    completions: pd.DataFrame,
    measured: pd.DataFrame,
    judging: dict[str, float],
    dtype: str | None,
) -> None:
    """The three files that generate and evaluate have in common.

    `dtype` is the arithmetic of the sampling, None where nothing was sampled.
    """
    completions.to_parquet(output / "completions.parquet", index=False)
    measured.to_parquet(output / "rates.parquet", index=False)
    summary = {
        "n_completions": len(completions),
        "n_prompts": int(completions["prompt_id"].nunique()),
        "n_unfinished": int((~completions["finished"]).sum()),
        "n_tokens": int(completions["n_tokens"].sum()),
        "judging": judging,
        "dtype": dtype,
    }
    write_atomic(output / "summary.json", json.dumps(summary, indent=2) + "\n")
    (output / SAMPLED).unlink(missing_ok=True)  # last: until then it saves sampling again
