"""The embedded organism with few of its pairs and prompts: real models, fast enough to test.

It keeps the organism's name, so that `pairtrace demo` takes its workspace for its own.
"""

from pathlib import Path

import pandas as pd

from core.demo.investigation import ORGANISM
from core.runs.store import Store
from core.specs import project as projects

BEHAVIORS = ("distractor-triggered compliance", "benign helpfulness")
SHARE = 0.1


def small_organism(folder: Path) -> Store:
    """A workspace for it in `folder`, with nothing run yet."""
    whole = projects.load(ORGANISM)
    pairs = pd.read_parquet(whole.pairs)
    pairs.sample(frac=SHARE, random_state=0).sort_index().to_parquet(folder / "pairs.parquet")
    for name in ("prompts", "heldout"):
        prompts = pd.read_json(getattr(whole, name), lines=True)
        kept = prompts[prompts["group"].isin(["harmful", "benign"])].iloc[::2]
        kept.to_json(folder / f"{name}.jsonl", orient="records", lines=True)
    smaller = {
        "pairs": str(folder / "pairs.parquet"),
        "prompts": str(folder / "prompts.jsonl"),
        "heldout": str(folder / "heldout.jsonl"),
        "behaviors": tuple(whole.behavior(name) for name in BEHAVIORS),
        "overrides": {**whole.overrides, "generate": {"rollouts": 4}, "evaluate": {"rollouts": 2}},
    }
    store = Store(folder / "workspace")
    projects.save(whole.model_copy(update=smaller), store.workspace)
    return store
