"""How long measuring a model takes: 120 prompts × 100 rollouts × 2 conditions of the organism.

Sampling, judging and rates of the shipped policy, as `pairtrace evaluate` does them. Prompts that
have no distractor get one of the others', so that every prompt is sent under both conditions.
"""

import time
from itertools import cycle
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from core.data.prompts import expand, read_prompts
from core.intervention.evaluation.judges import load_judge
from core.intervention.evaluation.rates import judged, rates
from core.models.generation import sample
from core.models.loading import load_model
from core.specs import project

ORGANISM = Path(__file__).parents[1] / "assets" / "organism"
ROLLOUTS = 100


def run(threads: int = 1) -> dict[str, Any]:
    """Seconds on the clock and of the CPU; on a busy machine only the latter mean something."""
    torch.set_num_threads(threads)
    known = project.load(ORGANISM)
    prompts = read_prompts(known.heldout)
    spare = cycle(prompts["distractor"].dropna())
    prompts["distractor"] = [next(spare) if pd.isna(one) else one for one in prompts["distractor"]]
    sent = expand(prompts)
    model = load_model(known.policy)
    began, used = time.monotonic(), time.process_time()
    drawn = sample(
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
    completions = repeated.join(drawn.drop(columns="prompt")).assign(model="evaluated")
    rates(judged(completions, load_judge(known.judge)), known.behaviors)
    cpu = time.process_time() - used
    return {
        "prompts": len(prompts),
        "completions": len(drawn),
        "tokens": int(drawn["n_tokens"].sum()),
        "threads": threads,
        "seconds": time.monotonic() - began,
        "cpu_seconds": cpu,
        "cpu_seconds_sampling": sampled,
        "completions_per_cpu_second": len(drawn) / cpu,
    }
