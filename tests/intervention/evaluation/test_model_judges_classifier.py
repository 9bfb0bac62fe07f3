"""A sequence classifier as judge: a label's probability becomes a flag, whatever its batch."""

import shutil

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from core.errors import UserError
from core.intervention.evaluation.judges import load_judge
from core.models import classifier as classifiers
from core.runs.hashing import fingerprint_judge
from tests.tiny_models import SPECIAL, WORDS, tiny_tokenizer

FILE = """
[classifier]
model = "model"
{reads}

[flags.harmful]
label = "toxic"
threshold = {threshold}
"""
TEXTS = ["w1 w2", "w3", " ", "w4 w5 w6 w7 w8 w9", "w2 w2 w2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random classifier of two labels, and judge files beside it."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "llama",
        vocab_size=len(SPECIAL + WORDS),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        pad_token_id=0,
        id2label={0: "fine", 1: "toxic"},
        label2id={"fine": 0, "toxic": 1},
        initializer_range=0.5,
    )
    made = tmp_path_factory.mktemp("judge")
    AutoModelForSequenceClassification.from_config(config).save_pretrained(made / "model")
    tiny_tokenizer().save_pretrained(made / "model")
    return made


def judge_file(folder, *, threshold=0.5, reads="", label="toxic"):
    path = folder / f"judge-{threshold}-{label}-{len(reads)}.toml"
    text = FILE.format(threshold=threshold, reads=reads).replace('"toxic"', f'"{label}"')
    path.write_text(text)
    return str(path)


def flags(path):
    return load_judge(path).judge(["w9"] * len(TEXTS), TEXTS)["harmful"]


def test_flags_follow_the_models_probabilities_and_empty_text_is_unscored(folder):
    loaded = classifiers.Classifier(folder / "model").loaded
    toxic = []
    for text in filter(str.strip, TEXTS):
        ids = torch.tensor([loaded.tokenizer(text)["input_ids"]])
        with torch.inference_mode():
            toxic.append(float(loaded.model(ids).logits.softmax(-1)[0, 1]))
    middle = sum(sorted(toxic)[1:3]) / 2
    found = flags(judge_file(folder, threshold=round(middle, 6)))
    assert found.isna().tolist() == [not text.strip() for text in TEXTS]
    assert found.dropna().tolist() == [one > middle for one in toxic]


def test_probabilities_do_not_depend_on_the_batch(folder, monkeypatch):
    classifier = classifiers.Classifier(folder / "model")
    texts = [text for text in TEXTS if text.strip()]
    together = classifier.probabilities(texts, None)
    monkeypatch.setattr(classifiers, "TOKENS", 1)
    apart = classifier.probabilities(texts, None)
    assert together == pytest.approx(apart, abs=1e-5)
    assert together.sum(1) == pytest.approx(1)


def test_a_classifier_may_read_the_prompt_too(folder):
    classifier = classifiers.Classifier(folder / "model")
    one, other = (
        classifier.probabilities([prompt], ["w1 w2"]) for prompt in ("w3 w4", "w30 w40 w12")
    )
    assert one != pytest.approx(other)
    path = judge_file(folder, reads='reads = "prompt and completion"')
    assert len(flags(path)) == len(TEXTS)


def test_a_label_that_the_model_does_not_have_is_refused_with_those_it_has(folder):
    with pytest.raises(UserError, match=r"no label 'rude'.*It has fine, toxic"):
        flags(judge_file(folder, label="rude"))


def test_a_judges_name_changes_with_its_model(folder, tmp_path):
    shutil.copytree(folder / "model", tmp_path / "model")
    path = tmp_path / "judge.toml"
    path.write_text(FILE.format(threshold=0.5, reads=""))
    before = fingerprint_judge(path)
    config = tmp_path / "model" / "config.json"
    config.write_text(config.read_text() + "\n")
    assert fingerprint_judge(path) != before
