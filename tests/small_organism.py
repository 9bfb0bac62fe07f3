"""An embedded organism with few of its pairs and prompts: real models, fast enough to test.

It keeps the organism's name, so that `pairtrace demo` takes its workspace for its own.
"""

from pathlib import Path

import pandas as pd

from core.demo.investigation import ORGANISM, SMOLLM2
from core.runs.store import Store
from core.specs import project as projects

SHARE = 0.1
KEPT = {  # groups of prompts, one in how many, behaviors, rollouts to build and to measure
    ORGANISM: (
        ("harmful", "benign"),
        2,
        ("distractor-triggered compliance", "benign helpfulness"),
        (4, 2),
    ),
    SMOLLM2: (("harmful",), 3, ("compliance in a format",), (2, 1)),
}


def small_organism(folder: Path, organism: Path = ORGANISM) -> Store:
    """A workspace for it in `folder`, with nothing run yet."""
    whole = projects.load(organism)
    groups, every, behaviors, rollouts = KEPT[organism]
    pairs = pd.read_parquet(whole.pairs)
    pairs.sample(frac=SHARE, random_state=0).sort_index().to_parquet(folder / "pairs.parquet")
    for name in ("prompts", "heldout"):
        prompts = pd.read_json(getattr(whole, name), lines=True)
        kept = prompts[prompts["group"].isin(groups)].iloc[::every]
        kept.to_json(folder / f"{name}.jsonl", orient="records", lines=True)
    smaller = {
        "pairs": str(folder / "pairs.parquet"),
        "prompts": str(folder / "prompts.jsonl"),
        "heldout": str(folder / "heldout.jsonl"),
        "behaviors": tuple(whole.behavior(name) for name in behaviors),
        "overrides": {
            **whole.overrides,
            **{
                step: whole.overrides.get(step, {}) | {"rollouts": number}
                for step, number in zip(("generate", "evaluate"), rollouts, strict=True)
            },
        },
    }
    store = Store(folder / "workspace")
    projects.save(whole.model_copy(update=smaller), store.workspace)
    return store
