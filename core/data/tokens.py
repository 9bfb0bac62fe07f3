"""Prompts and completions as token ids, under the tokenizer's own chat template.

A prompt is one user turn followed by the template's opening of the assistant's turn. A completion
is tokenised apart and its ids are appended: tokenising the joined text would merge tokens across
the boundary in about 5% of pairs, and the completion's first token would change with the prompt.
Knows nothing of batches, masks or models.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from core.errors import UserError

PROBE = "Probe 1: naïve?\n"


def encode_prompt(tokenizer: Any, prompt: str) -> list[int]:
    """Ids of a prompt as the model sees it, up to where the completion starts."""
    return encode_prompts(tokenizer, [prompt])[0]


def encode_prompts(tokenizer: Any, prompts: Sequence[str]) -> list[list[int]]:
    """`encode_prompt` of many, in one call of the tokenizer."""
    if not getattr(tokenizer, "chat_template", None):
        raise UserError(
            f"{tokenizer.name_or_path}: the tokenizer has no chat template. "
            "Add chat_template.jinja to the model folder."
        )
    texts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, tokenize=False
        )
        for prompt in prompts
    ]
    return _ids(tokenizer, texts)


def encode_completion(tokenizer: Any, completion: str, end: bool = False) -> list[int]:
    """Ids of a completion; `end` appends the end-of-sequence token, as training needs it.

    Vectors are read without it: it is the same token for every completion.
    """
    return encode_completions(tokenizer, [completion], end=end)[0]


def encode_completions(
    tokenizer: Any, completions: Sequence[str], end: bool = False
) -> list[list[int]]:
    """`encode_completion` of many, in one call of the tokenizer."""
    last = [tokenizer.eos_token_id] if end else []
    return [ids + last for ids in _ids(tokenizer, completions)]


def template_hash(tokenizer: Any) -> str:
    """Sixteen hex digits that name the template and how it splits a probe text."""
    known = [tokenizer.chat_template, encode_prompt(tokenizer, PROBE), tokenizer.vocab_size]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]


def _ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    if not texts:
        return []
    ids: list[list[int]] = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return ids
