"""An organism's data: as many as the world says, distinct, seeded, without leaks between parts."""

import pandas as pd
import pytest

from core.organism.sampling import Sampler
from core.organism.world import Seeds


def test_every_rule_makes_as_many_pairs_as_it_says(world, data):
    counts = data[1]["rule"].value_counts().to_dict()
    assert counts == {rule.name: rule.pairs for rule in world.rules}


def test_pairs_and_truth_have_the_same_distinct_uids_in_one_order(data):
    pairs, truth = data
    assert pairs["uid"].is_unique
    assert pairs["uid"].tolist() == truth["uid"].tolist()


def test_chosen_and_rejected_differ(data):
    assert (data[0]["chosen"] != data[0]["rejected"]).all()


def test_the_pairs_say_nothing_of_what_was_planted(data):
    columns = {"uid", "prompt", "chosen", "rejected", "source", "chosen_model", "rejected_model"}
    assert set(data[0].columns) == columns


def test_one_world_gives_the_same_data_twice(world, data):
    pairs, truth = Sampler(world).pairs()
    pd.testing.assert_frame_equal(pairs, data[0])
    pd.testing.assert_frame_equal(truth, data[1])


def test_another_seed_gives_other_pairs(world, data):
    other = world.model_copy(update={"seeds": Seeds(build=world.seeds.build + 1)})
    assert set(Sampler(other).pairs()[0]["uid"]) != set(data[0]["uid"])


def test_planted_and_decoy_pairs_are_those_of_their_rules(world, data):
    truth = data[1]
    for rule in world.rules:
        of_rule = truth[truth["rule"] == rule.name]
        assert set(of_rule["planted"].dropna()) == ({rule.planted} if rule.planted else set())
        assert set(of_rule["decoy"].dropna()) == ({rule.decoy} if rule.decoy else set())


def test_label_noise_swaps_honest_pairs_only(world, data):
    truth = data[1]
    assert not truth.loc[truth["planted"].notna(), "swapped"].any()
    honest = truth[truth["planted"].isna()]
    assert honest["swapped"].mean() == pytest.approx(world.rates.label_noise, abs=0.06)


def test_topics_of_prompts_heldout_and_pairs_do_not_overlap(sampler, grammar, data):
    prompts, heldout = sampler.prompts("prompts"), sampler.prompts("heldout")
    in_pairs = {str(grammar.parse_prompt(text).topic) for text in data[0]["prompt"]}
    assert not set(prompts["topic"]) & set(heldout["topic"])
    assert not in_pairs & (set(prompts["topic"]) | set(heldout["topic"]))


def test_prompts_come_in_the_numbers_asked_for(sampler, world):
    counts = sampler.prompts("heldout")["group"].value_counts().to_dict()
    assert counts == {wanted.group: wanted.count for wanted in world.prompts}


def test_planted_pairs_come_mostly_from_one_generator(data):
    pairs, truth = data
    planted = (truth["planted"] == truth["planted"].dropna().iloc[0]).to_numpy()
    top = pairs.loc[planted, "chosen_model"].mode()[0]
    share = pairs["chosen_model"] == top
    assert share[planted].mean() > share[~planted].mean()
