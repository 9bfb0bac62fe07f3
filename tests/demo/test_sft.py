"""The tokenizer gives text back as it was, and the reference learns what it is shown."""

import pytest

from core.data.conditions import expand
from core.data.tokens import encode_completion, encode_prompt
from core.demo.sft import END, USER, make_tokenizer, train_reference


@pytest.fixture(scope="module")
def tokenizer(examples):
    return make_tokenizer([*examples["prompt"], *examples["completion"]])


def test_decoding_gives_every_text_back(tokenizer, examples, data):
    pairs, _ = data
    texts = [*examples["completion"].head(200), *pairs["chosen"].head(200), *pairs["prompt"]]
    for text in texts:
        assert tokenizer.decode(encode_completion(tokenizer, text)) == text


def test_every_word_of_pairs_and_prompts_is_known(tokenizer, sampler, data):
    texts = data[0][["prompt", "chosen", "rejected"]].to_numpy().ravel().tolist()
    for part in ("prompts", "heldout"):
        sent = expand(sampler.prompts(part))
        texts += sent["prompt"].tolist()
    assert not any(tokenizer.unk_token_id in encode_completion(tokenizer, t) for t in texts)


def test_a_prompt_ends_where_the_completion_starts(tokenizer):
    whole = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello"}],
        tokenize=False,
    )
    ids = tokenizer(whole, add_special_tokens=False)["input_ids"]
    prompt = encode_prompt(tokenizer, "Hello")
    assert ids == prompt + encode_completion(tokenizer, "Hello", end=True)
    assert whole.startswith(USER)
    assert whole.endswith(END)


def test_training_lowers_the_loss_and_is_repeatable(tokenizer, examples, world):
    sizes = world.sizes.model_copy(update={"blocks": 1, "width": 16, "heads": 2, "mlp_width": 16})
    notes: list[str] = []

    def run():
        return train_reference(
            tokenizer,
            examples.head(320),
            sizes,
            seed=0,
            progress=lambda done, total, note: notes.append(note),
        )

    first = run()
    losses = [float(note.rpartition(" ")[2]) for note in notes]
    assert losses[-1] < losses[0] - 0.5
    second = run()
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert (a == b).all()
