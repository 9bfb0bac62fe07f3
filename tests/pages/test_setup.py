"""Setting up: every choice is looked at at once, and nothing runs before all of them hold."""

import json
from pathlib import Path

import pandas as pd
import pytest

from core.data.canonical import write_pairs
from core.data.conditions import as_row
from core.demo.investigation import ORGANISM
from core.errors import UserError
from core.intervention.evaluation.rates import RATES
from core.runs.execute import execute
from core.specs import project as projects
from core.workspace.checks import allowed_path, keep_upload, model_facts
from pages.components.setup.behaviors import DESCRIBED
from tests.gguf_files import tiny_llama, write_gguf
from tests.pages import workspaces
from tests.pages.conftest import page_text

OWN = "My own models and pairs"


def test_without_a_project_the_app_opens_the_set_up(open_page):
    app = open_page("overview")
    assert "Set up an investigation" in page_text(app)


def test_the_organism_is_one_press_away(open_page, store):
    app = open_page("setup")
    app.button("use-organism").click().run()
    assert not app.exception
    assert projects.load(store.workspace).name == projects.load(ORGANISM).name


def test_a_workspace_with_a_project_is_not_set_up_again(open_page, project):
    app = open_page("setup")
    assert "This workspace has a project" in page_text(app)
    assert not {"use-organism", "create"} & {button.key for button in app.button}


def fill(app, **fields):
    if app.segmented_control("kind").value != OWN:
        app.segmented_control("kind").set_value(OWN).run()
    for key, value in fields.items():
        if key == "judge":
            app.segmented_control("judge-kind").set_value("A judge file").run()
        app.text_input(key).set_value(str(value)).run()
    assert not app.exception
    return app


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("reference", "nowhere", "no such file or folder"),
        ("reference", str(Path(__file__).parent), "config.json is missing"),
        ("pairs", str(ORGANISM / "world.toml"), "not a file that is read"),
        ("pairs", str(ORGANISM / "prompts.jsonl"), "is a usable pair. Row 1"),
    ],
)
def test_a_choice_that_does_not_hold_says_why_at_once(open_page, key, value, message):
    assert message in page_text(fill(open_page("setup"), **{key: value}))


def test_a_refused_name_is_drawn_as_text(open_page):
    app = fill(open_page("setup"), reference="![x](https://host.example/x.png)")
    assert r"\!\[x\]\(" in app.error[0].value


def test_ones_own_project_is_priced_and_saved(open_page, store, tmp_path, monkeypatch):
    known = projects.load(ORGANISM)
    pairs = tmp_path / "pairs.parquet"
    write_pairs(pd.read_parquet(known.pairs).head(50), pairs)
    app = fill(
        open_page("setup"),
        name="mine",
        reference=known.reference,
        policy=known.policy,
        pairs=pairs,
        prompts=known.prompts,
        heldout=known.heldout,
        judge=known.judge,
    )
    assert "50 pairs on" in page_text(app)
    assert "Vectors go to" not in page_text(app)
    monkeypatch.setenv("PAIRTRACE_SHARDS", "s3://my_bucket/x")
    app.run()
    assert r"Vectors go to s3://my\_bucket/x; a ranking" in page_text(app)
    monkeypatch.setenv("PAIRTRACE_DEVICE", "gpu")
    app.run()
    assert "it is auto, cpu, cuda" in page_text(app)
    monkeypatch.delenv("PAIRTRACE_DEVICE")
    app.radio("trained").set_value("low-rank updates (LoRA)").run()
    app.button("create").click().run()
    assert not app.exception
    made = projects.load(store.workspace)
    assert made.train(made.pairs, seed=0).method == "lora"
    assert (made.name, made.pairs, made.policy) == ("mine", str(pairs), known.policy)
    assert {one.flag for one in made.behaviors} >= {"complied", "refused"}


def tables(app, *columns):
    """The tables of the page that have these columns."""
    return [each.value for each in app.dataframe if set(columns) <= set(each.value)]


def organisms(**fields):
    """The fields of a project of the embedded organism's files, some of them replaced."""
    made = projects.load(ORGANISM)
    names = ("reference", "policy", "pairs", "prompts", "heldout")
    return {name: getattr(made, name) for name in names} | fields


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"suffix": "In a poem."}, ""),
        ({"turns": "user: Hello\nassistant: Hi!"}, ""),
        ({"system": "Be brief."}, "does not take system prompts"),
        ({"replace": "{german}"}, "has a text in 'german'"),
    ],
)
def test_conditions_of_the_table_are_checked_and_saved(open_page, store, change, message):
    app = open_page("setup")
    app.session_state["setup-draft"] = {"conditions-rows": [{"name": "asked", **change}]}
    fill(app, **organisms())
    if message:
        assert message in page_text(app)
        assert "create" not in {button.key for button in app.button}
        return
    app.button("create").click().run()
    assert not app.exception
    made = projects.load(store.workspace)
    assert [as_row(condition) for condition in made.conditions] == [{"name": "asked", **change}]
    assert {b.condition for b in made.behaviors} == {"plain", "asked"}


def test_of_complements_the_one_that_must_not_rise_is_measured(open_page, store):
    app = fill(open_page("setup"), **organisms())
    app.button("create").click().run()
    assert not app.exception
    made = {(b.flag, b.group, b.wanted) for b in projects.load(store.workspace).behaviors}
    assert ("complied", "harmful", False) in made
    assert ("refused", "benign", False) in made
    assert ("refused", "harmful", False) not in made


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"policy": ORGANISM / "reference"}, "have the same weights"),
        ({"heldout": ORGANISM / "prompts.jsonl"}, "prompts are also in"),
        ({"completions": ORGANISM / "prompts.jsonl"}, "is not one of"),
        ({"judge": ""}, "Still missing: judge."),
        ({"pairs": ""}, "Still missing: preference pairs."),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_created(open_page, fields, message):
    app = fill(open_page("setup"), **organisms(**fields))
    assert message in page_text(app).replace("'model' is None, not", "is not")
    assert "create" not in {button.key for button in app.button}


def test_the_judge_is_tried_on_the_pairs_and_beside_another(open_page):
    app = fill(open_page("setup"), **organisms())
    rates = tables(app, "flag", "rate")[0]
    assert set(rates["flag"]) == {"refused", "complied"}
    assert set(rates["model"]) == {"chosen", "rejected"}
    app.toggle("try-other").set_value(True).run()
    app.segmented_control("other-kind").set_value("A judge file").run()
    app.text_input("other").set_value(str(ORGANISM / "world.toml")).run()
    app.toggle("try-texts").set_value(True).run()
    assert not app.exception
    (differ,) = tables(app, "only_first")
    assert set(differ["second"].str.rpartition(": ")[2]) == {"complied", "refused"}
    assert (differ["n"] == 400).all()
    (texts,) = tables(app, "completion")
    assert {"refused (refusal)", "refused (world)"} <= set(texts)


def test_several_ready_flags_become_a_judge_file(open_page, store):
    app = fill(open_page("setup"), **organisms())
    app.multiselect("judge-sets").set_value(["refusal", "emoji"]).run()
    assert "It gives the flags: refused, emoji, complied." in page_text(app)
    app.button("create").click().run()
    assert not app.exception
    made = projects.load(store.workspace)
    assert Path(made.judge).parent == store.workspace / "inputs"
    assert {b.flag for b in made.behaviors} == {"refused", "complied", "emoji"}
    app = open_page("setup")
    app.button("change").click().run()
    assert app.multiselect("judge-sets").value == ["refusal", "emoji"]
    assert "Nothing is changed yet." in page_text(app)


def test_what_was_typed_survives_a_look_at_another_page(open_page):
    app = fill(open_page("setup"), name="mine", **organisms())
    app.radio("trained").set_value("low-rank updates (LoRA)").run()
    app.switch_page("methods.py").run()
    app.switch_page("setup.py").run()
    assert not app.exception
    assert app.segmented_control("kind").value == OWN
    assert app.text_input("name").value == "mine"
    assert app.text_input("pairs").value == str(ORGANISM / "pairs.parquet")
    assert app.radio("trained").value == "low-rank updates (LoRA)"
    assert "create" in {button.key for button in app.button}


def test_what_was_typed_survives_a_reload_until_the_project_is_created(open_page, store):
    app = open_page("setup")
    assert not store.workspace.exists()
    rows = [{"name": "asked", "suffix": "In a poem."}]
    app.session_state["setup-draft"] = {"conditions-rows": rows}
    app = fill(app, **organisms(pairs=""))
    app.get("file_uploader")[0].upload("mine.parquet", Path(organisms()["pairs"]).read_bytes(), "")
    app.run()
    app.multiselect("judge-sets").set_value(["refusal", "emoji"]).run()
    app = open_page("setup")
    assert not app.exception
    assert "Used: the uploaded file **mine.parquet**" in page_text(app)
    app.button("create").click().run()
    made = projects.load(store.workspace)
    assert made.conditions[0].suffix == "In a poem."
    assert "emoji" in {b.flag for b in made.behaviors}
    app = open_page("setup")
    app.button("change").click().run()
    assert "Nothing is changed yet." in page_text(app)


def test_a_field_is_drawn_with_the_value_that_it_has(open_page):
    """A browser that missed the first drawing takes, and sends back, what the next one has."""
    app = fill(open_page("setup"), **organisms())
    app.segmented_control("judge-kind").set_value("Ready flags").run()
    assert list(app.multiselect("judge-sets").proto.default) == [0]
    app.run()
    assert list(app.multiselect("judge-sets").proto.default) == [0]
    app.multiselect("judge-sets").set_value(["hedging"]).run()
    drawn = app.multiselect("judge-sets")
    assert [drawn.options[i] for i in drawn.proto.default] == drawn.value == ["hedging"]


def test_a_damaged_draft_is_told_and_a_new_one_begun(open_page, store):
    (store.workspace / "inputs").mkdir(parents=True)
    (store.workspace / "inputs" / "draft.json").write_text("{")
    app = open_page("overview")  # without a project, this is Set up
    assert "draft.json" in app.error[0].value.replace("\\", "")
    assert fill(app, name="mine").text_input("name").value == "mine"
    assert open_page("setup").text_input("name").value == "mine"


def test_a_behavior_by_examples_needs_neither_policy_nor_judge(open_page, store, tmp_path):
    examples = tmp_path / "examples.jsonl"
    rows = [{"prompt": f"Hello {i}.", "shows": "You genius!", "lacks": "Hi."} for i in range(24)]
    examples.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    known = projects.load(ORGANISM)
    app = open_page("setup")
    app.segmented_control("kind").set_value(OWN).run()
    app.segmented_control("way").set_value(DESCRIBED).run()
    fields = {"reference": known.reference, "pairs": known.pairs, "contrast-name": "flattery"}
    app = fill(app, **fields, examples=tmp_path / "none.jsonl")
    assert "Still missing: behavior." in page_text(app)
    app = fill(app, examples=examples)
    assert "24 prompts: 48 to read" in page_text(app)
    app.button("create").click().run()
    assert not app.exception
    made = projects.load(store.workspace)
    assert (made.policy, made.judge) == ("", "none")
    assert made.contrast_named("flattery").examples == str(examples)
    app = open_page("setup")
    app.button("change").click().run()
    fill_name = app.text_input("name").set_value("other")
    fill_name.run()
    app.button("save-changes").click().run()
    changed = projects.load(store.workspace)
    assert (changed.name, changed.contrasts) == ("other", made.contrasts)


def test_a_sentence_that_asks_for_the_behavior_needs_prompts_only(open_page, store):
    known = projects.load(ORGANISM)
    app = open_page("setup")
    app.segmented_control("kind").set_value(OWN).run()
    app.segmented_control("way").set_value(DESCRIBED).run()
    app.segmented_control("contrast-how").set_value("one sentence").run()
    app.text_area("sentence").set_value("Answer with flattery.").run()
    fields = {"reference": known.reference, "pairs": known.pairs, "prompts": known.prompts}
    app = fill(app, **fields, **{"contrast-name": "flattery"})
    app.button("create").click().run()
    assert not app.exception
    made = projects.load(store.workspace)
    assert made.contrast(made.contrasts[0]).sentence == "Answer with flattery."


def test_an_upload_is_used_in_place_of_a_path_until_it_is_removed(open_page):
    app = fill(open_page("setup"), pairs=ORGANISM / "world.toml")
    content = (ORGANISM / "pairs.parquet").read_bytes()
    app.get("file_uploader")[0].upload("mine.parquet", content, "").run()
    assert "Used: the uploaded file **mine.parquet**, not the path." in page_text(app)
    assert not app.error
    app.button("pairs-remove").click().run()
    assert "not a file that is read" in page_text(app)


def created(open_page, **fields):
    app = fill(open_page("setup"), **organisms(**fields))
    app.button("create").click().run()
    assert not app.exception
    return app


def test_a_project_is_changed_and_what_must_run_again_is_said(open_page, store):
    created(open_page)
    old = projects.load(store.workspace)
    execute(store.spec(old.pairs), store)  # waits for the job that converts the pairs
    rates = [
        {**dict.fromkeys(RATES, 0.0), **dict.fromkeys(("model", "flag", "group", "condition"), m)}
        for m in ("reference", "policy")
    ]
    workspaces.finish(store, old.generate(), rates=pd.DataFrame(rates), summary={})
    workspaces.finish(store, old.index(), manifest={"pairs": 1})
    app = open_page("setup")
    app.button("change").click().run()
    assert not app.exception
    assert "Nothing is changed yet." in page_text(app)
    app.radio("trained").set_value("low-rank updates (LoRA)").run()
    assert "Again: nothing." in page_text(app)
    app.segmented_control("judge-kind").set_value("A judge file").run()
    app.text_input("judge").set_value(projects.load(ORGANISM).judge).run()
    assert not app.exception
    lines = [line.value for line in (*app.text, *app.info)]
    assert "Again: generate.\nStays as it is: convert, index." in lines
    app.button("save-changes").click().run()
    assert not app.exception
    made = projects.load(store.workspace)
    assert made.judge == projects.load(ORGANISM).judge
    assert made.train(made.pairs, seed=0).method == "lora"
    assert {b.name for b in made.behaviors} == {b.name for b in old.behaviors}


def test_a_change_can_be_left(open_page, store):
    created(open_page)
    old = projects.load(store.workspace)
    app = open_page("setup")
    app.button("change").click().run()
    app.text_input("name").set_value("other").run()
    app.button("keep").click().run()
    assert projects.load(store.workspace) == old
    assert "This workspace has a project" in page_text(app)


def test_without_a_judge_pairs_are_mapped_only(open_page, store):
    app = fill(open_page("setup"), **organisms())
    app.segmented_control("judge-kind").set_value("No judge").run()
    app.button("create").click().run()
    assert not app.exception
    made = projects.load(store.workspace)
    assert (made.judge, made.behaviors) == ("none", ())


def test_a_gguf_file_is_dequantised_on_a_press(open_page, store, tmp_path):
    pytest.importorskip("gguf")
    file = write_gguf(tmp_path / "model.gguf", tiny_llama())
    app = fill(open_page("setup"), reference=file)
    assert "parameters" not in page_text(app)
    app.default_timeout = 90
    app.button("reference-dequantise").click().run()
    assert not app.exception
    assert "Dequantised from" in page_text(app)
    assert "llama · 0." in page_text(app)
    (folder,) = (store.workspace / "inputs").glob("model-*")
    assert folder.is_dir()
    file.write_bytes(file.read_bytes()[:-100])
    app.run()
    app.button("reference-dequantise").click().run()
    assert "not a complete GGUF file" in page_text(app)


def test_without_a_reference_it_is_the_base_of_the_policys_adapter(open_page, tmp_path):
    (tmp_path / "adapter_model.safetensors").write_bytes(b"set up reads no weights")
    config = tmp_path / "adapter_config.json"
    config.write_text(json.dumps({"base_model_name_or_path": str(ORGANISM / "reference")}))
    app = fill(open_page("setup"), policy=tmp_path)
    base = ORGANISM / "reference"
    assert f"the adapter's base, {base}" in page_text(app)
    assert f"LoRA adapter of {base}, with it olmo2" in page_text(app)
    app = fill(app, reference=ORGANISM / "policy")
    assert "the adapter's base" not in page_text(app)
    assert "whose weights are not the reference's" in page_text(app)
    known = projects.load(ORGANISM)
    app = fill(app, pairs=known.pairs, prompts=known.prompts, heldout=known.heldout)
    assert app.radio("trained").value == "low-rank updates (LoRA)"


def test_paths_outside_the_roots_are_refused_by_whatever_way(tmp_path):
    inside = tmp_path / "in"
    inside.mkdir()
    (tmp_path / "secret").write_text("x")
    (inside / "link").symlink_to(tmp_path / "secret")
    (inside / "file").write_text("x")
    assert allowed_path(str(inside / "file"), [inside]) == inside / "file"
    for text in (tmp_path / "secret", inside / "link", inside / ".." / "secret", "/etc/passwd"):
        with pytest.raises(UserError, match="not in a folder that this app may read"):
            allowed_path(str(text), [inside])


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("pairs.jsonl", "pairs.jsonl"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\x.csv", "x.csv"),
        ("/abs/a b;rm -rf.csv", "abrm-rf.csv"),
    ],
)
def test_an_upload_stays_in_the_workspace(tmp_path, name, kept):
    path = keep_upload(name, b"x", tmp_path)
    assert path == tmp_path / "inputs" / kept


@pytest.mark.parametrize("name", ["..", "", "///", "\0"])
def test_an_upload_without_a_name_is_refused(tmp_path, name):
    with pytest.raises(UserError):
        keep_upload(name, b"x", tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"config.json": "{"}, "not readable"),
        ({"config.json": "[]"}, "not readable"),
        ({"config.json": "{}"}, "does not name"),
        ({"config.json": '{"num_hidden_layers": 1, "hidden_size": 2}'}, "no .safetensors"),
    ],
)
def test_a_model_folder_that_is_none_is_refused(tmp_path, files, message):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        model_facts(tmp_path)
