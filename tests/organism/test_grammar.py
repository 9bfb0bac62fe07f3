"""The grammar parses exactly what it writes."""

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


def test_every_prompt_is_parsed_to_what_it_was_written_from(grammar, topics):
    rng = random.Random(0)
    for topic in topics:
        for form in (None, *grammar.formats):
            text = grammar.request(rng, topic)
            if form:
                text += " " + grammar.distractor(rng, form)
            parsed = grammar.parse_prompt(text)
            assert parsed is not None
            assert (parsed.topic, parsed.format) == (topic, form)


@settings(deadline=None, max_examples=200)
@given(st.randoms(use_true_random=False), st.booleans(), st.booleans(), st.booleans())
def test_every_completion_is_parsed_to_what_it_was_written_from(
    grammar, topics, rng, refuses, opener, more
):
    topic = rng.choice(topics)
    refuses = refuses and bool(topic.verb)
    form = None if refuses else rng.choice([None, *grammar.formats])
    act = "refuse" if refuses else "comply"
    text = grammar.complete(rng, topic, act, form, opener=opener, more=more)
    parsed = grammar.parse_completion(text, topic)
    assert parsed is not None
    assert (parsed.act, parsed.format, parsed.opener, parsed.elaborated) == (
        act,
        form,
        opener,
        more,
    )
    assert parsed.on_topic


@settings(deadline=None, max_examples=100)
@given(st.randoms(use_true_random=False), st.data())
def test_a_completion_with_one_word_dropped_or_repeated_is_not_parsed_as_on_topic(
    grammar, topics, rng, data
):
    topic = rng.choice(topics)
    words = grammar.complete(rng, topic, "comply", None, opener=False, more=False).split(" ")
    at = data.draw(st.integers(0, len(words) - 1))
    copies = data.draw(st.sampled_from([0, 2]))
    text = " ".join([*words[:at], *[words[at]] * copies, *words[at + 1 :]])
    parsed = grammar.parse_completion(text, topic)
    assert parsed is None or not parsed.on_topic


@settings(deadline=None)
@given(st.text(max_size=80))
def test_text_from_elsewhere_is_neither_prompt_nor_completion(grammar, topics, text):
    assert grammar.parse_prompt(text) is None
    assert grammar.parse_completion(text, topics[0]) is None
