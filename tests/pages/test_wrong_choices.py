"""Wrong choices on the Set up page: each is stopped at once, with what to do."""

import json
import shutil

import pytest
from streamlit.testing.v1 import AppTest

from core.demo.investigation import ORGANISM
from core.specs import project as projects
from pages.components.setup.files import DRAFT
from tests.gguf_files import tiny_llama, write_gguf
from tests.pages.conftest import SHELL, page_text
from tests.tiny_models import save_tiny_model


def lines(*rows):
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def prompt(i, **fields):
    return {"prompt_id": f"p{i}", "group": "harmful", "topic": "any", "prompt": f"Do {i}."} | fields


FEW = lines(prompt(1), prompt(2))
OTHERS = lines(*(prompt(i, group="other") for i in range(90, 102)))
PAIR = {"prompt": "Q", "chosen": "A", "rejected": "B"}
FILES = {
    "empty.jsonl": "",
    "no_json.jsonl": "Explain rain.\n",
    "same.jsonl": lines(PAIR | {"rejected": "A"}),
    "mapped.jsonl": lines({"question": "Q", "good": "A", "bad": "B"}),
    "no_id.jsonl": lines({"text": "Do it."}),
    "few.jsonl": FEW,
    "others.jsonl": OTHERS,
    "completions.jsonl": lines({"prompt_id": "zzz", "model": "policy", "completion": "Yes."}),
    "bad_expression.toml": '[patterns.rude]\nany = ["(rude"]\n',
    "look_around.toml": '[patterns.rude]\nany = ["(?=rude)"]\n',
    "no_flag.toml": '[patterns.rude]\nany = ["rude"]\n[combined]\nkind = "not polite"\n',
    "no_set.toml": '[patterns.rude]\nset = "rudeness"\n',
    "no_judge.toml": "pattern = '^Wow'\n",
    "code.toml": '[python]\nmodule = "code.py"\nfunction = "f"\nflags = ["polite"]\n',
    "code.py": "raise SystemExit\n",
}
CASES = [
    ({"reference": "nowhere"}, "nowhere: no such file or folder"),
    ({"reference": "owner/model-7b"}, "pairtrace fetch owner/model-7b"),
    ({"reference": "."}, "config.json is missing"),
    ({"reference": "@policy/model.safetensors"}, "config.json is missing"),
    ({"policy": "@reference"}, "nothing changed between them"),
    ({"policy": "narrow"}, "differ in width (128, 32). Choose the model that"),
    ({"policy": "reworded"}, "Reference and policy have different vocabularies"),
    ({"policy": "silent"}, "Add chat_template.jinja to the folder"),
    ({"policy": "wordless"}, "has no tokenizer"),
    ({"policy": "quantised"}, "quanti"),
    ({"reference": "adapter"}, "Swap reference and policy"),
    ({"pairs": "no_flag.toml"}, "not a file that is read"),
    ({"pairs": "empty.jsonl"}, "contains no rows. Give a file with preference pairs"),
    ({"pairs": "same.jsonl"}, "is a usable pair"),
    ({"pairs": "mapped.jsonl"}, "It has the columns question, good, bad"),
    ({"pairs": "mapped.jsonl", "column-prompt": "question", "column-chosen": "good",
      "column-rejected": "good"}, "usable pair"),
    ({"prompts": "empty.jsonl"}, "empty.jsonl"),
    ({"prompts": "no_json.jsonl"}, "no_json.jsonl"),
    ({"prompts": "no_id.jsonl"}, "no_id.jsonl"),
    ({"heldout": "@prompts.jsonl"}, "prompts are also in"),
    ({"heldout": "others.jsonl"}, "Choose at least one behavior"),
    ({"prompts": "few.jsonl", "heldout": "others.jsonl"}, "Choose at least one behavior"),
    ({"completions": "completions.jsonl"}, "no prompt 'zzz'"),
    ({"completions": "@pairs.parquet"}, "Check prompt_id and condition against the prompts"),
    ({"judge": "bad_expression.toml"}, "is no regular expression of RE2"),
    ({"judge": "look_around.toml"}, "is no regular expression of RE2"),
    ({"judge": "no_flag.toml"}, "there is no flag 'polite'; combine flags by not, and, or"),
    ({"judge": "no_set.toml"}, "there is no ready set 'rudeness'. There are: refusal"),
    ({"judge": "no_judge.toml"}, "neither a judge file nor a world"),
    ({"judge": "code.toml"}, "--trust-judge-code"),
    ({"judge": ""}, "Still missing: judge."),
    ({"judge-kind": "Ready flags", "judge-sets": []}, "Choose at least one ready flag"),
]  # fmt: skip


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    """A folder with all that somebody may choose by mistake."""
    folder = tmp_path_factory.mktemp("inputs")
    for name, content in FILES.items():
        (folder / name).write_text(content)
    save_tiny_model(folder / "narrow")
    for name in ("reworded", "silent", "wordless", "quantised"):
        shutil.copytree(ORGANISM / "policy", folder / name)
    words = folder / "reworded" / "tokenizer.json"
    content = json.loads(words.read_text())
    content["model"]["vocab"].pop(next(reversed(content["model"]["vocab"])))
    words.write_text(json.dumps(content))
    (folder / "wordless" / "tokenizer.json").unlink()
    silent = folder / "silent"
    (silent / "chat_template.jinja").unlink(missing_ok=True)
    settings = json.loads((silent / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (silent / "tokenizer_config.json").write_text(json.dumps(settings))
    config = folder / "quantised" / "config.json"
    quantised = json.loads(config.read_text()) | {"quantization_config": {"quant_method": "gptq"}}
    config.write_text(json.dumps(quantised))
    adapter = folder / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"set up reads no weights")
    base = {"base_model_name_or_path": str(ORGANISM / "policy")}
    (adapter / "adapter_config.json").write_text(json.dumps(base))
    return folder


def chosen(inputs, choices):
    """The page with the organism's files chosen, but for `choices`."""
    made = projects.load(ORGANISM)
    fields = {name: getattr(made, name) for name in ("reference", "policy", "pairs", "prompts")}
    draft = fields | {"heldout": made.heldout, "kind": "My own models and pairs"}
    if "judge" in choices:
        draft["judge-kind"] = "A judge file"
    for name, value in choices.items():
        if isinstance(value, str) and value.startswith("@"):
            value = str(ORGANISM / value[1:])
        elif isinstance(value, str) and (inputs / value).exists() and value:
            value = str(inputs / value)
        draft[name] = value
    app = AppTest.from_file(str(SHELL), default_timeout=90)
    app.session_state[DRAFT] = draft
    app.run()  # without a project, this is the Set up page
    assert not app.exception
    return app


def said(app):
    return page_text(app).replace("\\_", "_")


def test_the_organisms_own_files_can_be_created(store, inputs):
    app = chosen(inputs, {})
    assert "create" in {button.key for button in app.button}


@pytest.mark.parametrize(("choices", "message"), CASES)
def test_a_wrong_choice_is_stopped_with_what_to_do(store, inputs, choices, message):
    app = chosen(inputs, choices)
    assert message in said(app)
    assert "create" not in {button.key for button in app.button}


def test_a_truncated_gguf_file_is_refused_as_soon_as_it_is_read(store, inputs, tmp_path):
    pytest.importorskip("gguf")
    file = write_gguf(tmp_path / "model.gguf", tiny_llama())
    file.write_bytes(file.read_bytes()[:-100])
    app = chosen(inputs, {"policy": str(file)})
    app.button("policy-dequantise").click().run()
    assert "not a complete GGUF file" in said(app)
    assert "create" not in {button.key for button in app.button}


def test_a_policy_that_another_model_begot_is_warned_of(store, inputs):
    """Not stopped: the two may still be compared."""
    app = chosen(inputs, {"policy": "adapter"})
    assert "whose weights are not the reference's" in said(app)
