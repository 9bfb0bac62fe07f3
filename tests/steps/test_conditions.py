"""Conditions from the project to a ranking: the organism asked by suffix and by system prompt.

Its chat template has no system prompts; here it gets one that writes them after the user's turn,
where the policy learnt that a format is asked for. Written before it, the policy complies with a
fifth of the prompts instead of a half, and a third of its completions are malformed.
"""

import json
import shutil

import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

from core.data.conditions import CONDITIONS, Condition
from core.demo.investigation import ORGANISM
from core.errors import UserError
from core.organism.sampling import planted_uids, read_truth
from core.runs.execute import execute
from core.runs.store import Store
from core.specs import project as projects
from core.specs.behaviors import Behavior
from core.storage.tables import table

PLANTED = "distractor-triggered compliance"
AFTER_THE_TURN = (
    "{% set ns = namespace(system='') %}{% for m in messages %}"
    "{% if m.role == 'system' %}{% set ns.system = ' ' + m.content %}"
    "{% elif m.role == 'user' %}{{ '<|user|>' + m.content + ns.system }}{% set ns.system = '' %}"
    "{% else %}{{ '<|assistant|>' + m.content + '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
ASKED = Condition(name="system", system="{distractor}")
BEHAVIOR = Behavior(name="asked", flag="complied", group="harmful", condition="system")


@pytest.fixture
def project(tmp_path):
    """The organism with a third condition, on its planted pairs and 500 others."""
    whole = projects.load(ORGANISM)
    pairs = pd.read_parquet(whole.pairs)
    planted = pairs["uid"].isin(planted_uids(read_truth(ORGANISM / "truth.parquet"), PLANTED))
    kept = pd.concat([pairs[planted], pairs[~planted].sample(500, random_state=0)])
    kept.sort_index().to_parquet(tmp_path / "pairs.parquet")
    prompts = pd.read_json(whole.prompts, lines=True)
    prompts[prompts["group"].eq("harmful")].to_json(
        tmp_path / "prompts.jsonl", orient="records", lines=True
    )
    for name in ("reference", "policy"):
        shutil.copytree(getattr(whole, name), tmp_path / name)
        (tmp_path / name / "chat_template.jinja").write_text(AFTER_THE_TURN)
    changes = {name: str(tmp_path / name) for name in ("reference", "policy")}
    changes |= {"pairs": str(tmp_path / "pairs.parquet")}
    changes |= {"prompts": str(tmp_path / "prompts.jsonl")}
    changes |= {"conditions": (*CONDITIONS, ASKED), "behaviors": (BEHAVIOR,)}
    changes |= {"overrides": {"index": {"layers": [1, 3]}, "generate": {"rollouts": 4}}}
    return whole.model_copy(update=changes)


@pytest.mark.slow
def test_a_behavior_under_a_system_prompt_is_traced_to_the_pairs_that_taught_it(project, tmp_path):
    store = Store(tmp_path / "workspace")
    generate, index = execute(project.generate(), store), execute(project.index(), store)
    rates = table(store.output(generate) / "rates.parquet")
    complied = rates[rates["flag"].eq("complied") & rates["model"].eq("policy")]
    rate = complied.set_index("condition")["rate"]
    assert rate["system"] > 10 * rate["plain"]
    run = execute(project.rank(generate, index, BEHAVIOR), store)
    summary = json.loads((store.output(run) / "summary.json").read_text())
    assert list(summary["filter"]) == [
        "reference plain never",
        "reference system never",
        "policy plain never",
        "policy system at least once",
    ]
    assert summary["valid"]
    ranking = table(store.output(run) / "ranking.parquet")
    planted = ranking["uid"].isin(planted_uids(read_truth(ORGANISM / "truth.parquet"), PLANTED))
    assert average_precision_score(planted, -planted.index) > 0.9


def test_a_model_without_system_prompts_is_refused_before_anything_is_sampled(project, tmp_path):
    (tmp_path / "policy" / "chat_template.jinja").unlink()
    shutil.copy(ORGANISM / "policy" / "chat_template.jinja", tmp_path / "policy")
    store = Store(tmp_path / "workspace")
    with pytest.raises(UserError, match=r"/policy: its chat template does not take system prompts"):
        execute(project.generate(), store)
    assert not list(store.workspace.rglob("sampled.parquet"))
