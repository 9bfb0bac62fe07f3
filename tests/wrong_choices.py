"""Wrong choices on Set up, with what is told of each: one table for AppTest and the browser.

Neighbors of the table have different messages, so that a page that still shows the one before is
told from one that shows its own.
"""

import json
import shutil
from pathlib import Path

from core.demo.investigation import ORGANISM
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
    ({"reference": "."}, "config.json is missing"),
    ({"reference": "owner/model-7b"}, "pairtrace fetch owner/model-7b"),
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
    ({"prompts": "few.jsonl", "heldout": "others.jsonl"}, "Choose at least one behavior"),
    ({"heldout": "@prompts.jsonl"}, "prompts are also in"),
    ({"heldout": "others.jsonl"}, "Choose at least one behavior"),
    ({"completions": "completions.jsonl"}, "no prompt 'zzz'"),
    ({"completions": "@pairs.parquet"}, "Check prompt_id and condition against the prompts"),
    ({"judge": ""}, "Still missing: judge."),
    ({"judge": "bad_expression.toml"}, "is no regular expression of RE2"),
    ({"judge": "no_flag.toml"}, "there is no flag 'polite'; combine flags by not, and, or"),
    ({"judge": "look_around.toml"}, "is no regular expression of RE2"),
    ({"judge": "no_set.toml"}, "there is no ready set 'rudeness'. There are: refusal"),
    ({"judge": "no_judge.toml"}, "neither a judge file nor a world"),
    ({"judge": "code.toml"}, "--trust-judge-code"),
    ({"judge-kind": "Ready flags", "judge-sets": []}, "Choose at least one ready flag"),
]  # fmt: skip


def save_inputs(folder: Path) -> None:
    """All that somebody may choose by mistake."""
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


def path_of(folder: Path, value: str) -> str:
    """What is typed for a value of the table: `@` is a file of the organism's, else of `folder`."""
    if value.startswith("@"):
        return str(ORGANISM / value[1:])
    return str(folder / value) if value and (folder / value).exists() else value
