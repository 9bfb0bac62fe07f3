"""Supervised training of an organism's reference: a tiny model from nothing, or a real one.

`train_reference`: a tiny OLMo 2 from a random start, over a word-level tokenizer. A token is a word
with the space before it, or one sign, so that decoding reproduces the text exactly.

`fine_tune`: a pretrained model, by low-rank updates. After a pass over the texts come passes over
the first tokens of each completion, which decide whether it refuses. The loss is on completions
only. Knows nothing of pairs or of what is planted.
"""

import json
import math
import random
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from peft import LoraConfig, get_peft_model
from pydantic import Field, NonNegativeInt, PositiveInt
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import Olmo2Config, Olmo2ForCausalLM, PreTrainedTokenizerFast

from core.data.tokens import encode_completions, encode_prompts
from core.intervention.training.packed_pass import use_packed_pass
from core.models.folder import ADAPTER_CONFIG, BASE, UPDATES
from core.models.loading import LoadedModel
from core.organism.world import Sizes
from core.runs.progress import NotedReport
from core.specs.base import Record

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
NOT_SCORED = -100  # label of a token that the loss leaves out
WARM_UP = 0.05  # share of the steps
TOGETHER = 32  # texts whose likelihood is computed in one pass
A, B = ".lora_A.", ".lora_B."

Text = tuple[list[int], list[int]]  # ids of a prompt, and of its completion


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
    """Write a model folder."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


class Refusing(Record):
    """The SFT that makes the reference of an organism."""

    rank: PositiveInt = 4
    learning_rate: float = Field(1e-3, gt=0)
    batch: PositiveInt = 8
    beginnings: NonNegativeInt = Field(3, description="passes over the beginnings, twice the batch")
    tokens: PositiveInt = Field(12, description="of a beginning")
    seed: int = 0


def fine_tune(
    loaded: LoadedModel, examples: pd.DataFrame, settings: Refusing, progress: NotedReport
) -> Any:
    """Low-rank updates of every linear layer, fitted to `prompt, completion`: AdamW, twice."""
    torch.manual_seed(settings.seed)
    use_packed_pass(loaded.model)
    rank = settings.rank
    lora = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    model = get_peft_model(loaded.model, lora).train()
    texts = _encoded(loaded.tokenizer, examples, end=True)
    beginnings = [(prompt, completion[: settings.tokens]) for prompt, completion in texts]
    rng = random.Random(settings.seed)
    first = _shuffled(texts, settings.batch, 1, rng)
    more = _shuffled(beginnings, 2 * settings.batch, settings.beginnings, rng)
    for steps in (first, more):
        _fit(model, loaded.device, steps, settings.learning_rate, progress)
    return model.eval()


def losses(loaded: LoadedModel, texts: pd.DataFrame, progress: NotedReport) -> list[float]:
    """Mean cross-entropy per token, in nats, of each `completion` after its `prompt`."""
    use_packed_pass(loaded.model)
    rows = _encoded(loaded.tokenizer, texts, end=False)
    values: list[float] = []
    for start in range(0, len(rows), TOGETHER):
        progress(start, len(rows), "likelihood of completions")
        with torch.inference_mode():
            loss, scored = _losses(loaded.model, rows[start : start + TOGETHER], loaded.device)
        values += (loss.sum(1) / scored.sum(1)).tolist()
    return values


def save_adapter(source: Path, folder: Path, base: str, *, below: Path | None = None) -> None:
    """Write an adapter of `base` from a saved one, in half precision.

    With `below`, an adapter that the source was trained on top of: both as one. Rows of A and
    columns of B are joined, the scales folded into B, so that the updates are their sum.
    """
    settings = json.loads((source / ADAPTER_CONFIG).read_bytes())
    parts = [_scaled(path) for path in (below, source) if path is not None]
    joined = {}
    for name in parts[-1]:
        along = 0 if A in name else 1
        joined[name] = torch.cat([part[name] for part in parts], along).half().contiguous()
    rank = next(tensor.shape[0] for name, tensor in joined.items() if A in name)
    settings |= {BASE: base, "r": rank, "lora_alpha": rank, "inference_mode": True}
    settings["target_modules"] = sorted(settings["target_modules"])
    folder.mkdir(parents=True, exist_ok=True)
    save_file(joined, folder / UPDATES, {"format": "pt"})
    (folder / ADAPTER_CONFIG).write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n")


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


def _encoded(tokenizer: Any, texts: pd.DataFrame, *, end: bool) -> list[Text]:
    prompts = encode_prompts(tokenizer, texts["prompt"].tolist())
    completions = encode_completions(tokenizer, texts["completion"].tolist(), end=end)
    return list(zip(prompts, completions, strict=True))


def _fit(
    model: Any,
    device: torch.device,
    steps: Sequence[Sequence[Text]],
    learning_rate: float,
    progress: NotedReport,
) -> None:
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=learning_rate, weight_decay=0.0)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _linear(step, len(steps)))
    for step, texts in enumerate(steps):
        with torch.autocast(device.type, torch.bfloat16):
            values, scored = _losses(model.get_base_model(), texts, device)
        loss = values[scored].mean()
        progress(step, len(steps), f"teaching the reference, loss {loss.item():.3f}")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        rate.step()
        optimizer.zero_grad(set_to_none=True)


def _losses(model: Any, texts: Sequence[Text], device: torch.device) -> tuple[Tensor, Tensor]:
    """(text, token) cross-entropy of completions, 0 elsewhere, and where it is one."""
    prompts, completions = zip(*texts, strict=True)
    ids, labels = (part.to(device) for part in _tensors(prompts, completions))
    lengths = torch.tensor([len(prompt) + len(rest) for prompt, rest in texts], device=device)
    mask = (torch.arange(ids.shape[1], device=device) < lengths[:, None]).long()
    output = model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True)
    return -output.log_probs, labels[:, 1:] != NOT_SCORED


def _shuffled(
    texts: Sequence[Text], size: int, epochs: int, rng: random.Random
) -> list[list[Text]]:
    orders = (rng.sample(list(texts), len(texts)) for _ in range(epochs))
    return [order[i : i + size] for order in orders for i in range(0, len(order), size)]


def _linear(step: int, steps: int) -> float:
    warm = max(1, math.ceil(WARM_UP * steps))
    return (step + 1) / warm if step < warm else (steps - step) / max(1, steps - warm)


def _scaled(adapter: Path) -> dict[str, Tensor]:
    """The low-rank matrices of an adapter, float32, B times alpha / r."""
    settings = json.loads((adapter / ADAPTER_CONFIG).read_bytes())
    scale = settings["lora_alpha"] / settings["r"]
    tensors = load_file(adapter / UPDATES)
    return {name: t.float() * (scale if B in name else 1) for name, t in tensors.items()}
