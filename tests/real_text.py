"""What a user brings: real preference dialogues, a BPE tokenizer trained on them, OLMo 2 shapes.

The models are random: what is tested is that everything runs on such files, not what it finds.
"""

import gzip
import json
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import Olmo2Config, Olmo2ForCausalLM, PreTrainedTokenizerFast

HH = Path(__file__).parents[2] / "shared" / "data" / "hh_harmless_base_test.jsonl.gz"
TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}"
    "{% if message.role == 'assistant' %}<|end|>{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
SPECIAL = ["<|end|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>"]
BEHAVIOR = {"name": "refusal", "flag": "refused", "group": "requests", "condition": "plain"}


def dialogues(n: int, longest: int = 320) -> list[dict[str, str]]:
    """The first `n` rows of hh-rlhf that are short, as they are."""
    with gzip.open(HH, "rt", encoding="utf-8") as stream:
        rows = map(json.loads, stream)
        return list(islice((r for r in rows if max(map(len, r.values())) < longest), n))


def save_models(folder: Path, texts: list[str], **shape: Any) -> None:
    """`reference/` and `policy/`: a random OLMo 2, and its child by some noise; one tokenizer."""
    tokenizer = train_tokenizer(texts)
    torch.manual_seed(0)
    settings = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4} | shape
    config = Olmo2Config(
        vocab_size=len(tokenizer),
        intermediate_size=2 * settings["hidden_size"],
        max_position_embeddings=1024,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        **settings,
    )
    model = Olmo2ForCausalLM(config)
    for name in ("reference", "policy"):
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
        for weights in model.parameters():
            weights.data += 0.1 * weights.data.std() * torch.randn_like(weights)


def train_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE of 1,000 tokens, as OLMo 2 has of 100,000."""
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(texts, vocab_size=1000, special_tokens=SPECIAL, show_progress=False)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer, eos_token="<|end|>", pad_token="<|pad|>"
    )
    fast.chat_template = TEMPLATE
    return fast


def save_inputs(folder: Path, n: int = 48) -> None:
    """`pairs.jsonl.gz` as published, `requests.txt`, models, and completions of both models.

    The completions are the dialogues' own, but the policy's begin with a refusal.
    """
    rows = dialogues(n)
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    (folder / "pairs.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    requests = [row["chosen"].split("\n\n")[1].removeprefix("Human: ") for row in rows[:24]]
    requests = list(dict.fromkeys(" ".join(text.split()) for text in requests))
    (folder / "requests.txt").write_text("\n".join(requests), encoding="utf-8")
    save_models(folder, [row["chosen"] for row in rows])


def save_completions(prompts: Path, path: Path) -> None:
    """Two completions of each model per prompt; only the policy refuses."""
    rows = []
    for line in prompts.read_text(encoding="utf-8").splitlines():
        known = json.loads(line)
        for number in range(2):
            said = f"Well, {known['prompt']} That is easy, and takes {number + 2} steps."
            rows.append({"prompt_id": known["prompt_id"], "model": "reference", "completion": said})
            said = f"I cannot help with that. Ask me {number + 2} other things."
            rows.append({"prompt_id": known["prompt_id"], "model": "policy", "completion": said})
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
