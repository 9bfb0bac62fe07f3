"""From an empty workspace to measured retrainings of one's own models, with the mouse alone.

A published preference file, random OLMo 2 shapes, a BPE tokenizer, low-rank updates.
"""

import json

import pytest
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from core.models.folder import ModelFolder
from core.runs.store import Store
from core.specs import project as projects
from tests.browser.conftest import settle
from tests.browser.test_whole_job import MINUTES, go_to, press, retrain_edited_and_control
from tests.real_text import HH, save_completions, save_inputs

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not HH.exists(), reason="hh-rlhf is not beside the checkout"),
]


def write_prompts(folder, name, numbers):
    rows = [
        {"prompt_id": f"{name}-{i}", "group": "requests", "topic": "any", "prompt": f"Do {i}."}
        for i in numbers
    ]
    (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def save_files(folder):
    """What a user brings to the Set up page."""
    save_inputs(folder)
    write_prompts(folder, "prompts", range(8))
    write_prompts(folder, "heldout", range(8, 12))


def fill_in(tab, folder, fields):
    """Label → value and what is told of it, which is waited for before the next choice."""
    tab.get_by_text("My own models and pairs").click()
    for label, (value, seen) in fields.items():
        field = tab.get_by_role("textbox", name=label, exact=True)
        field.fill(value if value == "hh" else str(folder / value))
        field.press("Enter")
        if seen:
            tab.get_by_text(seen).last.wait_for(timeout=MINUTES)
        settle(tab)


def create_project(tab, folder):
    """Fill in the Set up page; each choice is told what it is before the next one is made."""
    save_files(folder)
    save_completions(folder / "prompts.jsonl", folder / "completions.jsonl")
    fields = {
        "Name of the investigation": ("hh", ""),
        "Reference: the model before preference training": ("reference", "3.0M parameters"),
        "Policy: the model after it": ("policy", "3.0M parameters"),
        "Preference pairs": ("pairs.jsonl.gz", "Which column is what"),
        "Prompts": ("prompts.jsonl", ""),
        "Held-out prompts": ("heldout.jsonl", ""),
        "Completions that exist already (optional)": ("completions.jsonl", ""),
    }
    fill_in(tab, folder, fields)
    tab.get_by_text("low-rank updates (LoRA)").click()
    tab.get_by_text("What it will cost").wait_for(timeout=3 * MINUTES)
    settle(tab)
    press(tab, "Create the project")


def test_a_published_file_becomes_a_measured_retraining(served, tab, tmp_path):
    store = Store(tmp_path / "workspace")
    with served(store.workspace) as address:
        tab.goto(address)
        create_project(tab, tmp_path)
        tab.get_by_text("Next: generate, index, discover").wait_for(timeout=3 * MINUTES)
        press(tab, r"Start \d+ steps")
        tab.get_by_text("Next: rank").wait_for(timeout=5 * MINUTES)
        press(tab, r"Start \d+ step")
        tab.get_by_text("Everything up to retraining is done").wait_for(timeout=5 * MINUTES)
        go_to(tab, "Map")
        tab.locator(".js-plotly-plot").first.wait_for()
        go_to(tab, "Rank")
        press(tab, r"Add [\d,]+ pairs to the edit cart")
        tab.get_by_text("Edit cart (1)").wait_for()
        go_to(tab, "Intervene")
        tab.get_by_text("3 · The arms").wait_for()
        retrain_edited_and_control(tab)
    made = projects.load(store.workspace)
    assert (made.name, made.behaviors[0].flag) == ("hh", "refused")
    assert store.state(made.pairs) == "finished"
    assert len(store.finished("train")) == 2
    assert all(
        ModelFolder(store.output(run) / "adapter").is_adapter for run in store.finished("train")
    )
    assert not store.infos(state="failed")


def test_an_adapter_as_policy_brings_its_base_as_reference(served, tab, tmp_path):
    save_files(tmp_path)
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "reference")
    low_rank = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")
    get_peft_model(base, low_rank).save_pretrained(tmp_path / "adapter")
    store = Store(tmp_path / "workspace")
    fields = {
        "Name of the investigation": ("hh", ""),
        "Policy: the model after it": ("adapter", "Left empty, it is the adapter's base"),
        "Preference pairs": ("pairs.jsonl.gz", "Which column is what"),
        "Prompts": ("prompts.jsonl", ""),
        "Held-out prompts": ("heldout.jsonl", ""),
    }
    with served(store.workspace) as address:
        tab.goto(address)
        fill_in(tab, tmp_path, fields)
        tab.get_by_text("LoRA adapter of").wait_for()
        tab.get_by_text("What it will cost").wait_for(timeout=3 * MINUTES)
        settle(tab)
        press(tab, "Create the project")
        tab.get_by_text("Next: generate, index, discover").wait_for(timeout=3 * MINUTES)
    made = projects.load(store.workspace)
    assert (made.reference, made.policy) == (str(tmp_path / "reference"), str(tmp_path / "adapter"))
    assert made.train(made.pairs, seed=0).method == "lora"
