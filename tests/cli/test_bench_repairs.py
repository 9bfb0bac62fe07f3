"""`bench repairs`: every repair with its control, on a small organism."""

import pandas as pd
import pytest

from benchmarks import repairs
from core.data.canonical import write_pairs
from core.errors import UserError
from core.runs.execute import execute
from core.runs.store import Store
from core.specs.behaviors import Behavior
from core.specs.project import Project, save
from core.specs.recipes import Edit, EditSpec, TopK
from core.specs.steps import RankSpec
from tests.tiny_models import save_tiny_model

JUDGE = '[patterns.shows]\nany = ["w1"]\nwords = true\n[patterns.long]\nany = ["w3"]\n'
SHOWS = Behavior(name="shows", flag="shows", group="g", description="w1")
LONG = Behavior(name="long", flag="long", group="g", wanted=True)
TRAIN = {"batch_size": 8, "learning_rate": 1e-3}
SAMPLING = {"rollouts": 2, "max_new_tokens": 4}
REPAIRS = ["remove", "flip", "weight", "relabel", "explaining away", "inoculation"]


@pytest.fixture
def project(tmp_path):
    rows = [
        {"uid": f"u{i}", "prompt": f"w{i} w{i + 1}", "chosen": f"w1 w{i}", "rejected": f"w2 w{i}"}
        for i in range(3, 43)
    ]
    write_pairs(pd.DataFrame(rows).assign(source="s"), tmp_path / "pairs.parquet")
    for name, first in (("prompts", 3), ("heldout", 23)):
        prompts = [
            {"prompt_id": f"{name}{i}", "group": "g", "topic": "t", "prompt": f"w{first + i}"}
            for i in range(8)
        ]
        pd.DataFrame(prompts).to_json(tmp_path / f"{name}.jsonl", orient="records", lines=True)
    texts = {"reference": "w2 w4 w5", "policy": "w1 w4 w5"}
    given = [
        {"prompt_id": f"prompts{i}", "model": model, "completion": text}
        for i in range(8)
        for model, text in texts.items()
    ]
    pd.DataFrame(given).to_json(tmp_path / "given.jsonl", orient="records", lines=True)
    (tmp_path / "judge.toml").write_text(JUDGE)
    models = {n: str(save_tiny_model(tmp_path / n, blocks=2, seed=s))
              for s, n in enumerate(("reference", "policy"))}  # fmt: skip
    return Project(
        name="small",
        **models,
        **{name: str(tmp_path / f"{name}.jsonl") for name in ("prompts", "heldout")},
        pairs=str(tmp_path / "pairs.parquet"),
        judge=str(tmp_path / "judge.toml"),
        behaviors=(SHOWS, LONG),
        overrides={
            "train": TRAIN,
            "generate": {"completions": str(tmp_path / "given.jsonl")},
            "evaluate": SAMPLING,
        },
    )


@pytest.fixture
def store(tmp_path, project):
    save(project, tmp_path / "workspace")
    return Store(tmp_path / "workspace")


@pytest.mark.slow
def test_every_repair_has_a_control_and_a_second_call_trains_nothing(store, project):
    generate, index = (execute(s, store) for s in (project.generate(), project.index()))
    rank = execute(RankSpec(generate=generate, index=index, behavior=SHOWS), store)
    result = repairs.compare(store, project, rank, SHOWS, seeds=[0], k=8)
    assert list(result["repairs"]) == REPAIRS
    assert [row["pairs_touched"] for row in result["repairs"].values()] == [8] * 4 + [None] * 2
    assert all(row["undone_by_control"]["seeds"] for row in result["repairs"].values())
    trained = store.finished("train")
    assert len(trained) == 1 + 2 * len(REPAIRS)  # each repair and each control is a training
    assert repairs.compare(store, project, rank, SHOWS, seeds=[0], k=8) == result
    assert store.finished("train") == trained


def test_a_repair_is_better_only_where_it_undoes_enough_and_costs_less_than_flipping():
    def row(undone, worse):
        return {"undone": {"mean": undone}, "points_worse": worse}

    table = {"remove": row(0.5, 0), "flip": row(0.99, 20), "weight": row(0.95, 5)}
    assert repairs.better(table) == ["weight"]
    assert repairs.better(table | {"weight": row(0.95, 25)}) == []


@pytest.mark.slow
def test_only_what_the_ranking_scored_is_explained_away(store, project):
    """Weighted pairs are other pairs than those that were indexed."""
    generate, index = (execute(s, store) for s in (project.generate(), project.index()))
    rank = execute(RankSpec(generate=generate, index=index, behavior=SHOWS), store)
    half = Edit(action="weight", recipe=TopK(rank=rank, k=8), weight=0.5)
    edit = execute(EditSpec(pairs=project.pairs, edits=(half,)), store)
    training = project.train(edit, 0).model_copy(update={"explain_away": rank})
    with pytest.raises(UserError, match=f"{rank} scored other pairs than {edit}"):
        execute(training, store)
