"""Inputs, sampling and outputs that steps share.

Loads torch only inside the functions that compute with a model, so that light steps start fast.
"""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.attribution.index.layout import VectorIndex
from core.attribution.selftest import doubts
from core.attribution.vectors import Activations
from core.data.quality import Health
from core.errors import UserError
from core.models.folder import check_takes_system_prompts
from core.runs.progress import Progress
from core.runs.store import Store
from core.specs.behaviors import ContrastSpec
from core.specs.steps import DiscoverSpec, EvaluateSpec, GenerateSpec, RankSpec
from core.storage.atomic import write_atomic, writing_atomic
from core.storage.tables import data_frame

if TYPE_CHECKING:
    from core.models.generation import Report
    from core.models.loading import LoadedModel

SAMPLED = "sampled.parquet"  # completions that are not judged yet
SERVED = "served.jsonl"  # completions that a server has written so far
SERVER_SECONDS = 600  # for one completion: a busy server queues what it is asked


def write_summary(output: Path, summary: Mapping[str, Any]) -> None:
    """Write `summary.json`."""
    write_atomic(output / "summary.json", json.dumps(summary, indent=2) + "\n")


def write_health(output: Path, health: Health) -> None:
    """Write what check and convert found in the pairs: rows, sources and summary."""
    health.rows.to_parquet(output / "rows.parquet", index=False)
    health.sources.to_parquet(output / "sources.parquet", index=False)
    write_summary(output, health.summary)


def read_completions(run: str, store: Store) -> pd.DataFrame:
    """The completions of a generate or contrast run, with their flags."""
    return data_frame(store.output(run) / "completions.parquet")


def matching_index(spec: RankSpec | DiscoverSpec, store: Store) -> VectorIndex:
    """The index of a spec. `UserError` if it was not read by the generate run's reference."""
    reference = store.record(spec.generate)["contents"]["reference"]
    index = VectorIndex.open(store.output(spec.index), model_hash=reference)
    if spec.layer is not None and spec.layer not in index.layers:
        layers = ", ".join(map(str, index.layers))
        raise UserError(
            f"layer {spec.layer} is not in {spec.index}, which contains layers {layers}."
        )
    return index


def reference_activations(
    spec: RankSpec | DiscoverSpec,
    store: Store,
    index: VectorIndex,
    completions: pd.DataFrame,
    progress: Progress,
    layers: tuple[int, ...] | None = None,
) -> Activations:
    """The reference's activations on completions, at some layers of the index [default: all].

    Warns of what failed when the model was tested.
    """
    from core.attribution.completions import completion_activations
    from core.models.loading import load_model

    made = store.spec(spec.generate)
    if not isinstance(made, GenerateSpec) and not (
        isinstance(made, ContrastSpec) and isinstance(spec, RankSpec)
    ):
        raise UserError(f"{spec.step} reads no completions from {spec.generate}.")
    for line in doubts(store.workspace / "cache", index.model_hash, index.manifest.dtype):
        logging.getLogger(__name__).warning(line)
    layers = layers or index.layers
    loaded = load_model(store.model(made.reference), dtype=index.manifest.dtype, blocks=max(layers))
    activations = completion_activations(
        loaded,
        completions,
        layers,
        progress=lambda done, total: progress(done, total, "reading prompts' completions"),
    )
    _refuse_non_finite(activations, spec.generate)
    return activations


def _refuse_non_finite(activations: Activations, generate: str) -> None:
    bad = np.asarray(~np.isfinite(activations.means).all(axis=(1, 2)))
    if bad.any():
        first = activations.completions.iloc[int(bad.argmax())]
        raise UserError(
            f"{generate}: the reference's activations are not finite on {int(bad.sum())} of "
            f"{len(bad)} completions, first on prompt {first['prompt_id']!r}, rollout "
            f"{first['rollout']}. Index with --dtype float32, or check the reference's weights."
        )


def refuse_system_prompts(
    spec: GenerateSpec | EvaluateSpec, models: Iterable[str], store: Store
) -> None:
    """`UserError` where a condition has a system prompt and the template of a model has none."""
    if any(condition.system for condition in spec.conditions):
        for model in models:
            check_takes_system_prompts(store.model(model))


def sampled_once(output: Path, sample: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Completions, kept on disk until they are judged: a judge may fail where no model did."""
    path = output / SAMPLED
    if not path.exists():
        with writing_atomic(path) as part:
            sample().to_parquet(part, index=False)
    return data_frame(path)


def sample_completions(
    loaded: "LoadedModel",
    prompts: pd.DataFrame,
    spec: GenerateSpec | ContrastSpec | EvaluateSpec,
    report: "Report",
) -> pd.DataFrame:
    """One row per prompt and rollout: the columns of `prompts`, then the completion's.

    Its attribute `dtype` names the arithmetic of the sampling.
    """
    from core.models.devices import in_words
    from core.models.generation import sample

    drawn = sample(
        loaded,
        prompts["prompt"].tolist(),
        rollouts=spec.rollouts,
        temperature=spec.temperature,
        max_new_tokens=spec.max_new_tokens,
        seed=spec.seed,
        progress=report,
    )
    completions = _joined(prompts, drawn, spec.rollouts)
    completions.attrs["dtype"] = in_words(loaded.model.dtype)
    return completions


def served_completions(
    models: Mapping[str, tuple[Path, str]],
    prompts: pd.DataFrame,
    spec: GenerateSpec | EvaluateSpec,
    output: Path,
    progress: Progress,
) -> pd.DataFrame:
    """`sample_completions` of models by name, each a folder and the URL of its server.

    Has the column `model`, and the attribute `served`: how they were asked, and what it took.
    """
    from core.models.api.client import Endpoint
    from core.models.api.served import connect, sample_served

    texts, servers = prompts["prompt"].tolist(), []
    sampling: dict[str, Any] = {
        "temperature": spec.temperature,
        "max_new_tokens": spec.max_new_tokens,
    }
    for name, (folder, url) in models.items():
        if not url:
            raise UserError(f"{spec.step} --sampler openai: give --url, the server of the {name}.")
        progress(0, 0, f"comparing the {name} with what {url} serves")
        endpoint = Endpoint(
            model=folder.name, url=url, concurrency=spec.concurrency, timeout=SERVER_SECONDS
        )
        servers.append(
            connect(folder, endpoint, texts, template=spec.template, dtype=spec.dtype, **sampling)
        )
    tables, took = sample_served(
        servers,
        texts,
        rollouts=spec.rollouts,
        seed=spec.seed,
        kept=output / SERVED,
        progress=progress,
        **sampling,
    )
    completions = pd.concat(
        [
            _joined(prompts, drawn, spec.rollouts).assign(model=name)
            for name, drawn in zip(models, tables, strict=True)
        ],
        ignore_index=True,
    )
    completions.attrs["served"] = {
        "sampler": spec.sampler,
        "template": spec.template,
        "parameters": ", ".join(servers[0].parameters) or "none beside OpenAI's",
        **took,
        "tokens_per_second": round(took["completion_tokens"] / max(took["seconds"], 1e-9), 1),
        "dollars": round(spec.dollars_per_hour * took["seconds"] / 3600, 4),
    }
    return completions


def _joined(prompts: pd.DataFrame, drawn: pd.DataFrame, rollouts: int) -> pd.DataFrame:
    repeated = prompts.loc[prompts.index.repeat(rollouts)].reset_index(drop=True)
    return repeated.join(drawn.drop(columns="prompt"))


def write_measurement(
    output: Path,
    completions: pd.DataFrame,
    rates: pd.DataFrame,
    judging: dict[str, float],
    sampling: Mapping[Any, Any],
) -> None:
    """Write the three files that generate and evaluate have in common.

    `sampling`: its arithmetic, `dtype`, absent where nothing was sampled here, and what a server
    took, `served`.
    """
    completions.to_parquet(output / "completions.parquet", index=False)
    rates.to_parquet(output / "rates.parquet", index=False)
    summary = {
        "n_completions": len(completions),
        "n_prompts": int(completions["prompt_id"].nunique()),
        "n_unfinished": int((~completions["finished"]).sum()),
        "n_tokens": int(completions["n_tokens"].sum()),
        "judging": judging,
        "dtype": sampling.get("dtype"),
        **sampling.get("served", {}),
    }
    write_summary(output, summary)
    for name in (SAMPLED, SERVED):  # last: until then they save sampling again
        (output / name).unlink(missing_ok=True)
