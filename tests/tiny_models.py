"""Tiny random models of every supported family, and a word-level tokenizer, made in memory."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

WORDS = [f"w{i}" for i in range(50)]
TEMPLATE = (
    "{% for message in messages %}<{{ message.role }}> {{ message.content }} {% endfor %}"
    "{% if add_generation_prompt %}<assistant> {% endif %}"
)
SPECIAL = ["<pad>", "<end>", "<unk>", "<user>", "<assistant>"]
FAMILIES: dict[str, dict[str, Any]] = {
    "olmo": {},
    "olmo2": {},
    "olmo3": {"sliding_window": 7},
    "llama": {"num_key_value_heads": 2},
    "qwen2": {
        "num_key_value_heads": 2,
        "use_sliding_window": True,
        "sliding_window": 7,
        "max_window_layers": 2,
    },
    "qwen3": {"num_key_value_heads": 2, "head_dim": 16},
    "mistral": {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 7},
    "gemma": {"num_key_value_heads": 2, "head_dim": 16},
    "gemma2": {"num_key_value_heads": 2, "head_dim": 16, "sliding_window": 7},
    "gemma3_text": {"num_key_value_heads": 2, "head_dim": 16, "sliding_window": 7},
    "gpt_neox": {},
    "phi": {},
    "phi3": {"num_key_value_heads": 2},
}


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Splits at spaces; 50 words, `<user>` and `<assistant>` tokens, a chat template."""
    vocabulary = {word: i for i, word in enumerate(SPECIAL + WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>", unk_token="<unk>"
    )
    fast.chat_template = TEMPLATE
    return fast


def tiny_model(family: str = "olmo2", *, blocks: int = 4, seed: int = 0, **settings: Any) -> Any:
    """A causal language model with random weights: `blocks` × 32, 4 heads, 55 tokens."""
    torch.manual_seed(seed)
    shape: dict[str, Any] = {
        "vocab_size": len(SPECIAL + WORDS),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": blocks,
        "num_attention_heads": 4,
        "max_position_embeddings": 256,
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": 1,
        "initializer_range": 0.3,
    }
    config = AutoConfig.for_model(family, **(shape | FAMILIES.get(family, {}) | settings))
    return AutoModelForCausalLM.from_config(config).eval()


def save_child(folder: Path, *, seed: int = 1) -> Path:
    """A policy for `save_tiny_model`'s folder: the same model after a small random step."""
    model = tiny_model()
    torch.manual_seed(seed)
    with torch.no_grad():
        for weights in model.parameters():
            weights += 0.02 * torch.randn_like(weights)
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def save_tiny_model(folder: Path, family: str = "olmo2", **settings: Any) -> Path:
    """A model folder as a user would have it."""
    tiny_model(family, **settings).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder
