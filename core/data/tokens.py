"""Prompts and completions as token ids, under the tokenizer's own chat template.

A prompt is one user turn, or a conversation (core.data.chat), followed by the template's opening of
the assistant's turn. A completion is tokenised alone and its ids are appended: tokenising the
joined text would merge tokens across the boundary in about 5% of pairs, and the completion's first
token would change with the prompt. Knows nothing of batches, masks or models.
"""

import hashlib
import json
import unicodedata
from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

from core.data.chat import Message, conversation, display_text, turns, with_sentence
from core.errors import UserError

PROBE = "Probe 1: naïve?\n"
JOINER = "\u200d"  # joins emoji to one


def encode_prompt(tokenizer: Any, prompt: str) -> list[int]:
    """Ids of a prompt as the model reads it, up to where the completion starts."""
    return encode_prompts(tokenizer, [prompt])[0]


def encode_prompts(
    tokenizer: Any, prompts: Sequence[str], *, strict: bool = True
) -> list[list[int]]:
    """`encode_prompt` of several, in one call of the tokenizer.

    A prompt that the template refuses (say, for its system turn) is an error, or has no ids where
    not `strict`.
    """
    return encode_texts(tokenizer, render_prompts(tokenizer, prompts, strict=strict))


def render_prompts(tokenizer: Any, prompts: Sequence[str], *, strict: bool = True) -> list[str]:
    """The texts that `encode_prompts` encodes: the prompts under the chat template."""
    if not getattr(tokenizer, "chat_template", None):
        raise UserError(
            f"{tokenizer.name_or_path}: the tokenizer has no chat template. "
            "Add chat_template.jinja to the model folder."
        )
    texts = []
    for prompt in prompts:
        try:
            texts.append(_rendered(tokenizer, prompt))
        except (TemplateError, ValueError, TypeError) as error:
            if strict:
                raise UserError(
                    f"the chat template of {tokenizer.name_or_path} refuses the prompt "
                    f"{display_text(prompt)[:200]!r} ({error}). Leave it out, or use another "
                    "template."
                ) from error
            texts.append("")
    return texts


def asked_for(tokenizer: Any, prompts: Sequence[str], sentence: str) -> tuple[list[str], str]:
    """The prompts with a sentence as system prompt, and where it is: `system` or `user`.

    Where the chat template refuses a system turn, or leaves its text out, the sentence and a blank
    line come before the first user turn.
    """
    for place in ("system", "user"):
        asked = [with_sentence(prompt, sentence, place) for prompt in prompts]
        try:
            texts = [_rendered(tokenizer, prompt) for prompt in asked]
        except (TemplateError, ValueError, TypeError):
            continue
        if all(sentence in text for text in texts):
            return asked, place
    raise UserError(
        f"{tokenizer.name_or_path}: the chat template takes no sentence before a prompt, neither "
        "as a system turn nor in the user's. Describe the behavior by examples."
    )


def encode_completion(tokenizer: Any, completion: str, end: bool = False) -> list[int]:
    """Ids of a completion; `end` appends the end-of-sequence token, as training needs it.

    Vectors are extracted without it: it is the same token for every completion.
    """
    return encode_completions(tokenizer, [completion], end=end)[0]


def encode_completions(
    tokenizer: Any, completions: Sequence[str], end: bool = False
) -> list[list[int]]:
    """`encode_completion` of several, in one call of the tokenizer."""
    last = [tokenizer.eos_token_id] if end else []
    texts = [_completion_text(tokenizer, completion) for completion in completions]
    return [ids + last for ids in encode_texts(tokenizer, texts)]


def completion_pieces(tokenizer: Any, completion: str) -> tuple[list[str], list[int]]:
    """A completion's text cut at its tokens, and the number of tokens in each piece.

    The pieces join to the text that `encode_completion` encodes. Tokens that are parts of one
    letter, such as an emoji's bytes or a combining accent, are one piece.
    """
    if not tokenizer.is_fast:
        raise UserError(
            f"{tokenizer.name_or_path}: its tokenizer does not report which letters a token "
            "covers, so tokens cannot be shown in the text. Save the model with a fast tokenizer."
        )
    text = _completion_text(tokenizer, completion)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    pieces, counts, end = [""], [0], 0
    for _, stop in encoded["offset_mapping"]:
        piece = text[end:stop]
        if pieces[-1] and piece and not _continues_letter(piece, pieces[-1]):
            pieces.append("")
            counts.append(0)
        pieces[-1] += piece
        counts[-1] += 1
        end = max(end, stop)
    pieces[-1] += text[end:]
    return pieces, counts


def template_hash(tokenizer: Any) -> str:
    """Sixteen hex digits that name the template and how it splits a probe text."""
    facts = [tokenizer.chat_template, encode_prompt(tokenizer, PROBE), tokenizer.vocab_size]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _continues_letter(piece: str, before: str) -> bool:
    """Whether a piece begins inside the letter that the text before it ends with."""
    return (
        unicodedata.combining(piece[0]) > 0
        or unicodedata.category(piece[0]) in ("Mn", "Me")
        or JOINER in (piece[0], before[-1])
    )


def _rendered(tokenizer: Any, prompt: str) -> str:
    dialogue = conversation(prompt)
    messages = turns(prompt)
    answered = messages[-1]["role"] == "assistant"  # the completion continues this turn
    text: str = tokenizer.apply_chat_template(
        messages,
        tools=(dialogue.tools if dialogue else None) or None,
        add_generation_prompt=not answered,
        continue_final_message=answered,
        tokenize=False,
    )
    return text


def _completion_text(tokenizer: Any, completion: str) -> str:
    """A plain completion as it is; turns and tool calls as the template writes them."""
    dialogue = conversation(completion)
    if dialogue is None:
        return completion
    before: list[Message] = [{"role": "user", "content": PROBE}]
    opening: str = tokenizer.apply_chat_template(before, add_generation_prompt=True, tokenize=False)
    text: str = tokenizer.apply_chat_template([*before, *dialogue.messages], tokenize=False)
    if not text.startswith(opening):
        raise UserError(
            f"{tokenizer.name_or_path}: the chat template writes an answered turn unlike an open "
            "one, so completions of several turns or with tool calls cannot be read."
        )
    return text[len(opening) :].rstrip().removesuffix(tokenizer.eos_token or "").rstrip()


def encode_texts(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Ids of texts as they are, without tokens before or after."""
    if not texts:
        return []
    ids: list[list[int]] = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return ids
