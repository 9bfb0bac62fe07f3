"""Prompts and completions become ids apart, so that neither changes the other."""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from core.data.chat import as_completion, as_prompt
from core.data.tokens import (
    asked_for,
    completion_pieces,
    encode_completion,
    encode_completions,
    encode_prompt,
    encode_prompts,
    template_hash,
)
from core.errors import UserError
from tests.tiny_models import tiny_tokenizer


def messages(*turns: str) -> list[dict[str, str]]:
    """Messages from "role text"."""
    return [dict(zip(("role", "content"), turn.split(), strict=True)) for turn in turns]


def test_a_prompt_ends_where_the_assistant_starts() -> None:
    tokenizer = tiny_tokenizer()
    words = tokenizer.convert_ids_to_tokens(encode_prompt(tokenizer, "w1 w2"))
    assert words == ["<user>", "w1", "w2", "<assistant>"]


def test_a_completion_has_no_template_and_an_end_only_on_request() -> None:
    tokenizer = tiny_tokenizer()
    plain = encode_completion(tokenizer, "w3 w4")
    assert tokenizer.convert_ids_to_tokens(plain) == ["w3", "w4"]
    assert encode_completion(tokenizer, "w3 w4", end=True) == [*plain, tokenizer.eos_token_id]


def test_many_are_encoded_as_each_alone() -> None:
    tokenizer, texts = tiny_tokenizer(), ["w1", "w2 w3 w4", "w5"]
    assert encode_prompts(tokenizer, texts) == [encode_prompt(tokenizer, t) for t in texts]
    assert encode_completions(tokenizer, texts) == [encode_completion(tokenizer, t) for t in texts]
    assert encode_completions(tokenizer, []) == []


def test_a_tokenizer_without_a_template_is_refused() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(UserError, match="no chat template"):
        encode_prompt(tokenizer, "w1")


def test_another_template_has_another_hash() -> None:
    one, other = tiny_tokenizer(), tiny_tokenizer()
    assert template_hash(one) == template_hash(other)
    other.chat_template = "{{ messages[0].content }}"
    assert template_hash(one) != template_hash(other)


def test_a_conversation_is_sent_turn_by_turn() -> None:
    tokenizer = tiny_tokenizer()
    cell = as_prompt(messages("user w1", "assistant w2", "user w3"))
    words = tokenizer.convert_ids_to_tokens(encode_prompt(tokenizer, cell))
    assert words == ["<user>", "w1", "<assistant>", "w2", "<user>", "w3", "<assistant>"]


def test_a_completion_of_several_turns_is_written_by_the_template() -> None:
    tokenizer = tiny_tokenizer()
    cell = as_completion(messages("assistant w1", "user w2", "assistant w3"))
    words = tokenizer.convert_ids_to_tokens(encode_completion(tokenizer, cell))
    assert words == ["w1", "<user>", "w2", "<assistant>", "w3"]


def test_a_prompt_that_the_template_refuses_is_named_or_left_empty() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        + tokenizer.chat_template
    )
    refused = as_prompt(messages("system w0", "user w1"))
    with pytest.raises(UserError, match=r"refuses the prompt .*no system role"):
        encode_prompts(tokenizer, ["w1", refused])
    assert encode_prompts(tokenizer, ["w1", refused], strict=False)[1] == []


NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
DROPS_SYSTEM = "{% for m in messages if m.role == 'user' %}<user> {{ m.content }} {% endfor %}"


@pytest.mark.parametrize(
    ("template", "place", "prompt", "asked"),
    [
        (None, "system", "w1", messages("system w9", "user w1")),
        (None, "system", as_prompt(messages("system w2", "user w1")),
         [{"role": "system", "content": "w9\n\nw2"}, {"role": "user", "content": "w1"}]),
        (NO_SYSTEM, "user", "w1", [{"role": "user", "content": "w9\n\nw1"}]),
        (DROPS_SYSTEM, "user", "w1", [{"role": "user", "content": "w9\n\nw1"}]),
    ],
)  # fmt: skip
def test_a_sentence_is_a_system_turn_or_begins_the_users(template, place, prompt, asked) -> None:
    tokenizer = tiny_tokenizer()
    if template is not None:
        tokenizer.chat_template = template + (
            tokenizer.chat_template if "raise" in template else ""
        )
    assert asked_for(tokenizer, [prompt], "w9") == ([as_prompt(asked)], place)


def test_a_template_that_takes_no_sentence_is_refused() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "<user> always the same"
    with pytest.raises(UserError, match="Describe the behavior by examples"):
        asked_for(tokenizer, ["w1"], "w9")


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Every byte is a token, as in a byte-level vocabulary without merges."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(alphabet)}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("ab c", ["a", "b", " ", "c"]),
        ("é", ["é"]),
        ("e\u0301x", ["e\u0301", "x"]),
        ("\U0001f469\u200d\U0001f4bb!", ["\U0001f469\u200d\U0001f4bb", "!"]),
        ("שלום", ["ש", "ל", "ו", "ם"]),
    ],
)
def test_tokens_that_are_parts_of_a_letter_are_one_piece(text: str, pieces: list[str]) -> None:
    texts, counts = completion_pieces(byte_tokenizer(), text)
    assert texts == pieces
    assert counts == [len(piece.encode()) for piece in pieces]
    assert sum(counts) == len(encode_completion(byte_tokenizer(), text))


def test_spaces_that_no_token_covers_belong_to_the_next_piece() -> None:
    texts, counts = completion_pieces(tiny_tokenizer(), "w1  w2 ")
    assert (texts, counts) == (["w1", "  w2 "], [1, 1])
