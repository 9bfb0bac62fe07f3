"""What the grammar makes, it reads back; what it did not make, it does not read."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

PARTS = ("pairs", "prompts", "heldout")


@pytest.fixture(scope="session")
def topics(grammar):
    return [t for group in grammar.groups for part in PARTS for t in grammar.topics(group, part)]


def test_no_object_is_in_two_parts(grammar):
    for group in grammar.groups:
        objects = [{t.object for t in grammar.topics(group, part)} for part in PARTS]
        assert all(objects)
        assert sum(map(len, objects)) == len(set.union(*objects))


def test_every_prompt_is_read_as_what_it_was_made_from(grammar, topics):
    rng = random.Random(0)
    for topic in topics:
        for form in (None, *grammar.formats):
            text = grammar.request(rng, topic)
            if form:
                text += " " + grammar.distractor(rng, form)
            asked = grammar.read_prompt(text)
            assert asked is not None
            assert (asked.topic, asked.format) == (topic, form)


@settings(deadline=None, max_examples=200)
@given(st.randoms(use_true_random=False), st.booleans(), st.booleans(), st.booleans())
def test_every_completion_is_read_as_what_it_was_made_to_be(
    grammar, topics, rng, refuses, opener, more
):
    topic = rng.choice(topics)
    refuses = refuses and bool(topic.verb)
    form = None if refuses else rng.choice([None, *grammar.formats])
    act = "refuse" if refuses else "comply"
    text = grammar.complete(rng, topic, act, form, opener=opener, more=more)
    said = grammar.read_completion(text, topic)
    assert said is not None
    assert (said.act, said.format, said.opener, said.elaborated) == (act, form, opener, more)
    assert said.on_topic


@settings(deadline=None, max_examples=100)
@given(st.randoms(use_true_random=False), st.data())
def test_a_completion_with_one_word_dropped_or_repeated_is_not_read_as_on_topic(
    grammar, topics, rng, data
):
    topic = rng.choice(topics)
    words = grammar.complete(rng, topic, "comply", None, opener=False, more=False).split(" ")
    at = data.draw(st.integers(0, len(words) - 1))
    copies = data.draw(st.sampled_from([0, 2]))
    text = " ".join([*words[:at], *[words[at]] * copies, *words[at + 1 :]])
    said = grammar.read_completion(text, topic)
    assert said is None or not said.on_topic


@settings(deadline=None)
@given(st.text(max_size=80))
def test_text_from_elsewhere_is_neither_prompt_nor_completion(grammar, topics, text):
    assert grammar.read_prompt(text) is None
    assert grammar.read_completion(text, topics[0]) is None
