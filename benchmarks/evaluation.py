"""Speed of an evaluation: 120 prompts × 100 rollouts × 2 conditions of the organism.

Sampling, judging and rates of the shipped policy, as in `pairtrace evaluate`. Prompts without a
distractor get one of another prompt, so that every prompt has both conditions.
"""

import time
from itertools import cycle
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from core.data.conditions import expand
from core.data.prompts import read_prompts
from core.intervention.evaluation.judges import load_judge
from core.intervention.evaluation.rates import judged, rates
from core.models.generation import sample
from core.models.loading import load_model
from core.specs.project import load

ORGANISM = Path(__file__).parents[1] / "assets" / "organism"
ROLLOUTS = 100


def run(threads: int = 1) -> dict[str, Any]:
    """Wall-clock and CPU-seconds; on a busy machine only the latter are meaningful."""
    torch.set_num_threads(threads)
    project = load(ORGANISM)
    prompts = read_prompts(project.heldout)
    distractors = cycle(prompts["distractor"].dropna())
    prompts["distractor"] = [
        next(distractors) if pd.isna(text) else text for text in prompts["distractor"]
    ]
    sent = expand(prompts)
    model = load_model(project.policy)
    began, used = time.monotonic(), time.process_time()
    samples = sample(
        model,
        sent["prompt"].tolist(),
        rollouts=ROLLOUTS,
        temperature=0.7,
        max_new_tokens=64,
        seed=0,
        progress=lambda *_: None,
    )
    sampled = time.process_time() - used
    repeated = sent.loc[sent.index.repeat(ROLLOUTS)].reset_index(drop=True)
    completions = repeated.join(samples.drop(columns="prompt")).assign(model="evaluated")
    rates(judged(completions, load_judge(project.judge)), project.behaviors)
    cpu = time.process_time() - used
    return {
        "prompts": len(prompts),
        "completions": len(samples),
        "tokens": int(samples["n_tokens"].sum()),
        "threads": threads,
        "seconds": time.monotonic() - began,
        "cpu_seconds": cpu,
        "cpu_seconds_sampling": sampled,
        "completions_per_cpu_second": len(samples) / cpu,
    }
