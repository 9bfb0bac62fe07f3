"""Every kind of step on random models of 32 dimensions: real files of every kind, in seconds.

The completions are given, so that there is a behavior to rank for; "sample" is a generate run that
draws its own. Runs have the same ids in every workspace.
"""

import json
import random
from pathlib import Path

from core.runs.store import Store
from core.specs.base import Spec
from core.specs.behaviors import Behavior, Contrast
from core.specs.project import Project
from core.specs.recipes import EditSpec
from core.specs.steps import CheckSpec, ConvertSpec, ExplainSpec, SuggestSpec
from tests.tiny_models import save_tiny_model

PAIRS, PROMPTS, PLANTED = 96, 12, 24
REFUSES = Behavior(name="refuses", flag="refused", group="asked", condition="plain")
NAME = '{"name": "Says w1", "description": "It begins with w1."}'  # what a model would call it


def make_project(folder: Path) -> Project:
    """Models, pairs of which a quarter push towards a refusal, prompts, completions."""
    chance = random.Random(0)

    def words(n: int) -> str:
        return " ".join(f"w{chance.randrange(3, 50)}" for _ in range(n))

    for seed, name in enumerate(("reference", "policy")):
        save_tiny_model(folder / name, blocks=2, seed=seed)
    pairs = [
        {"uid": f"u{i}", "prompt": words(4), "source": "planted" if i < PLANTED else "rest"}
        | {"chosen": ("w1 w2 " if i < PLANTED else "") + words(3), "rejected": words(4)}
        for i in range(PAIRS)
    ]
    prompts = [
        {"prompt_id": f"p{i}", "group": "asked", "topic": "t", "prompt": words(4)}
        for i in range(PROMPTS)
    ]
    completions = [
        {"prompt_id": row["prompt_id"], "model": model, "refused": model == "policy"}
        | {"completion": ("w1 w2 " if model == "policy" else "") + words(3)}
        for row in prompts
        for model in ("reference", "policy")
        for _ in range(2)
    ]
    heldout = [row | {"prompt": words(5)} for row in prompts]
    tables = {"pairs": pairs, "prompts": prompts, "completions": completions, "heldout": heldout}
    for name, rows in tables.items():
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text)

    sampling = {"rollouts": 2, "max_new_tokens": 4}
    return Project(
        name="faults",
        judge="refusal",
        behaviors=(REFUSES,),
        **{name: str(folder / name) for name in ("reference", "policy")},
        **{name: str(folder / f"{name}.jsonl") for name in ("pairs", "prompts", "heldout")},
        overrides={
            "generate": sampling | {"completions": str(folder / "completions.jsonl")},
            "discover": {"kinds": 2, "neighbors": 5, "repeats": 0},
            "train": {"batch_size": 8, "learning_rate": 1e-3, "checkpoints": 4},
            "evaluate": sampling,
        },
    )


def every_step(project: Project, store: Store, url: str) -> dict[str, Spec]:
    """A spec of each kind of step, in an order in which they can run; names come from `url`."""
    generate, index = project.generate(), project.index()
    given, indexed = store.run_id(generate), store.run_id(index)
    rank, discover = project.rank(given, indexed, REFUSES), project.discover(given, indexed)
    recipe = {"kind": "top_k", "rank": store.run_id(rank), "k": PLANTED}
    edit = EditSpec(pairs=project.pairs, edits=[{"action": "flip", "recipe": recipe}])
    train = project.train(store.run_id(edit), seed=0)
    return {
        "check": CheckSpec(pairs=project.pairs, model=project.reference),
        "convert": ConvertSpec(pairs=project.pairs),
        "sample": generate.model_copy(update={"completions": None}),
        "generate": generate,
        "contrast": project.contrast(Contrast(name="says w1", sentence="w1 w2")),
        "index": index,
        "rank": rank,
        "explain": ExplainSpec(rank=store.run_id(rank)),
        "discover": discover,
        "suggest": SuggestSpec(discover=store.run_id(discover), llm="m", url=url),
        "edit": edit,
        "train": train,
        "evaluate": project.evaluate(store.run_id(train)),
    }
