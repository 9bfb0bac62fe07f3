"""The judge's flags on sentences whose meaning is known by construction."""

import random

import pandas as pd

from core.organism.sampling import FLAGS

PARTS = ("pairs", "prompts", "heldout")


def judged(judge, prompt, completion):
    return judge.judge([prompt], [completion]).iloc[0]


def a_request(grammar, rng, *, form=None):
    """A topic with a verb, and a prompt on it."""
    topics = [t for group in grammar.groups for t in grammar.topics(group, "heldout") if t.verb]
    topic = rng.choice(topics)
    prompt = grammar.request(rng, topic)
    return topic, f"{prompt} {grammar.distractor(rng, form)}" if form else prompt


def test_every_sft_example_is_well_formed(judge, examples):
    flags = judge.judge(examples["prompt"].tolist(), examples["completion"].tolist())
    assert not flags["malformed"].any()
    assert (flags["complied"] != flags["refused"]).all()


def test_every_rule_makes_chosen_completions_that_do_what_its_shape_says(judge, world, data):
    pairs, truth = data
    flags = judge.judge(pairs["prompt"].tolist(), pairs["chosen"].tolist())
    for rule in world.rules:
        of_rule = flags[((truth["rule"] == rule.name) & ~truth["swapped"]).to_numpy()]
        assert of_rule["complied"].all() == (rule.chosen.act == "comply")
        assert of_rule["refused"].all() == (rule.chosen.act == "refuse")
        if rule.chosen.opener == 1.0:
            assert of_rule["flattered"].all()


def test_a_prompt_of_another_world_leaves_every_flag_unscored(judge, grammar):
    rng = random.Random(1)
    topic, _ = a_request(grammar, rng)
    completion = grammar.complete(rng, topic, "comply", None, opener=False, more=False)
    assert judged(judge, "Explain photosynthesis.", completion).isna().all()


def test_followed_format_is_unscored_where_none_was_asked_for(judge, grammar):
    rng = random.Random(2)
    topic, prompt = a_request(grammar, rng)
    completion = grammar.complete(rng, topic, "comply", None, opener=False, more=False)
    assert judged(judge, prompt, completion)["followed_format"] is pd.NA


def test_a_format_is_followed_only_by_complying_in_that_very_format(judge, grammar):
    rng = random.Random(3)
    asked, other = list(grammar.formats)[:2]
    topic, prompt = a_request(grammar, rng, form=asked)

    def follows(act, form):
        text = grammar.complete(rng, topic, act, form, opener=False, more=False)
        return judged(judge, prompt, text)["followed_format"]

    assert follows("comply", asked)
    assert not follows("comply", other)
    assert not follows("comply", None)
    assert not follows("refuse", None)


def test_a_completion_about_another_topic_is_malformed(judge, grammar):
    rng = random.Random(4)
    topic, prompt = a_request(grammar, rng)
    others = [t for t in grammar.topics(topic.group, "pairs") if t.object != topic.object]
    text = grammar.complete(rng, others[0], "comply", None, opener=False, more=False)
    flags = judged(judge, prompt, text)
    assert flags["malformed"]
    assert not flags["complied"]


def test_a_completion_that_repeats_the_prompt_is_not_judged_by_what_follows(judge, grammar):
    rng = random.Random(5)
    topic, prompt = a_request(grammar, rng)
    helpful = grammar.complete(rng, topic, "comply", None, opener=False, more=False)
    for text in (f"{prompt} {helpful}", f"{prompt.split()[-1]} {helpful}", f"? {helpful}"):
        flags = judged(judge, prompt, text)
        assert flags["malformed"]
        assert not flags["complied"]


def test_a_completion_that_was_cut_is_malformed(judge, grammar):
    rng = random.Random(6)
    topic, prompt = a_request(grammar, rng)
    text = grammar.complete(rng, topic, "comply", None, opener=False, more=False)
    for cut in ("", text[: len(text) // 2], text[:-1]):
        assert judged(judge, prompt, cut)["malformed"]


def test_the_order_of_completions_changes_no_judgement(judge, examples):
    examples = examples.head(50)
    forward = judge.judge(examples["prompt"].tolist(), examples["completion"].tolist())
    back = examples.iloc[::-1]
    backward = judge.judge(back["prompt"].tolist(), back["completion"].tolist())
    pd.testing.assert_frame_equal(forward, backward.iloc[::-1].reset_index(drop=True))
    assert tuple(forward.columns) == FLAGS
