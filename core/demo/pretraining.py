"""The reference of an organism: a word-level tokenizer and a tiny OLMo 2.

A token is a word with the space before it, or one sign, so that decoding reproduces the text
exactly. The model is trained from a random start, with the loss on completions only. Knows nothing
of pairs or of what is planted.
"""

import math
import random
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch.nn.utils.rnn import pad_sequence
from transformers import Olmo2Config, Olmo2ForCausalLM, PreTrainedTokenizerFast

from core.data.tokens import encode_completions, encode_prompts
from core.organism.world import Sizes
from core.runs.progress import NotedReport

WORD = r" ?\w+| ?[^\w\s]|\s"
PAD, END, UNKNOWN = "<|pad|>", "<|end|>", "<|unknown|>"
USER, ASSISTANT = "<|user|>", "<|assistant|>"
TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '<|user|>' + message['content'] }}"
    "{% else %}{{ '<|assistant|>' + message['content'] + '<|end|>' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
CONTEXT = 256  # tokens; the longest prompt and completion of the default world have 65
ROPE_THETA = 1000.0  # short texts: at OLMo's 500,000 heads learn to look one token back late
INIT_STD = 0.1  # at the library's 1 the reference learns to copy words much later
NOT_SCORED = -100  # label of tokens that the loss leaves out


def make_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer whose vocabulary is the words of the texts, with the organism's chat template."""
    words = sorted({word for text in texts for word in re.findall(WORD, text)})
    special = [PAD, END, UNKNOWN, USER, ASSISTANT]
    vocabulary = {word: number for number, word in enumerate([*special, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(WORD), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(special)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        additional_special_tokens=[USER, ASSISTANT],
        chat_template=TEMPLATE,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def train_reference(
    tokenizer: PreTrainedTokenizerFast,
    examples: pd.DataFrame,
    sizes: Sizes,
    *,
    seed: int,
    progress: NotedReport,
) -> Any:
    """An OLMo 2 trained on the examples' completions (AdamW, warm-up, cosine)."""
    model = _new_model(len(tokenizer), tokenizer, sizes, seed)
    prompts = encode_prompts(tokenizer, examples["prompt"].tolist())
    completions = encode_completions(tokenizer, examples["completion"].tolist(), end=True)
    batches = _batches(prompts, completions, sizes, random.Random(seed))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, weight_decay=0.01, betas=(0.9, 0.98))
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: sizes.sft_learning_rate * _schedule(step, len(batches))
    )
    for step, rows in enumerate(batches):
        ids, labels = _tensors([prompts[r] for r in rows], [completions[r] for r in rows])
        loss = model(input_ids=ids, labels=labels, use_cache=False).loss
        progress(step, len(batches), f"training the reference, loss {loss.item():.3f}")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rate.step()
        optimizer.zero_grad(set_to_none=True)
    return model.eval()


def save(model: Any, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write a model folder: config, safetensors, tokenizer with chat template."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _new_model(vocabulary: int, tokenizer: PreTrainedTokenizerFast, sizes: Sizes, seed: int) -> Any:
    torch.manual_seed(seed)
    config = Olmo2Config(
        vocab_size=vocabulary,
        hidden_size=sizes.width,
        intermediate_size=sizes.mlp_width,
        num_hidden_layers=sizes.blocks,
        num_attention_heads=sizes.heads,
        max_position_embeddings=CONTEXT,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        dtype="float32",
    )
    model = Olmo2ForCausalLM(config)
    _scale_down(model)
    return model.train()


def _scale_down(model: Any) -> None:
    """Keep the embeddings visible at the start: OLMo 2 adds normed outputs of size 1 to them."""
    torch.nn.init.normal_(model.model.embed_tokens.weight, std=INIT_STD)
    for block in model.model.layers:
        torch.nn.init.constant_(block.post_attention_layernorm.weight, INIT_STD)
        torch.nn.init.constant_(block.post_feedforward_layernorm.weight, INIT_STD)


def _batches(
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    sizes: Sizes,
    rng: random.Random,
) -> list[list[int]]:
    """Shuffled batches of about equal length: sorted within pools of eight batches."""
    batches = []
    for _ in range(sizes.sft_epochs):
        order = rng.sample(range(len(prompts)), len(prompts))
        pool = 8 * sizes.sft_batch
        for start in range(0, len(order), pool):
            rows = sorted(order[start : start + pool], key=lambda r: len(completions[r]))
            parts = [rows[i : i + sizes.sft_batch] for i in range(0, len(rows), sizes.sft_batch)]
            batches += rng.sample(parts, len(parts))
    return batches


def _tensors(
    prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]]
) -> tuple[torch.Tensor, torch.Tensor]:
    ids = [torch.tensor([*p, *c]) for p, c in zip(prompts, completions, strict=True)]
    labels = [tokens.clone() for tokens in ids]
    for tokens, prompt in zip(labels, prompts, strict=True):
        tokens[: len(prompt)] = NOT_SCORED
    return (
        pad_sequence(ids, batch_first=True),  # right padding: causal, so unseen
        pad_sequence(labels, batch_first=True, padding_value=NOT_SCORED),
    )


def _schedule(step: int, steps: int) -> float:
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
