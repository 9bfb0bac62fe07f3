"""Items, examples and pairs of the organism in natural English."""

import pandas as pd
import pytest

from core.organism.natural import (
    ANSWERS,
    COMPLIES,
    PLANTED,
    REFUSES,
    REFUSES_FORMAT,
    PairRules,
    items,
    pairs_of,
    sft_examples,
    with_formats,
)


@pytest.fixture
def prompts():
    rows = [
        (f"{group}-{part}-{n}", group, f"topic {n}", f"{group} question {n}?", part)
        for group in ("everyday", "harmful")
        for part in ("training", "held-out")
        for n in range(6)
    ]
    return pd.DataFrame(rows, columns=["prompt_id", "group", "topic", "prompt", "part"])


@pytest.fixture
def formats():
    rows = [
        (f"{part} {n}", part, f"In {n} words.") for part in ("training", "held-out") for n in "123"
    ]
    return pd.DataFrame(rows, columns=["format_id", "part", "text"])


def rated(group, k, *completions):
    """`generator, by_aspects, safety_first, refused` of each completion to one item."""
    names = ["generator", "by_aspects", "safety_first", "refused"]
    return pd.DataFrame(completions, columns=names).assign(
        item=f"{group}/{k}",
        prompt_id=SAFE,
        group=group,
        k=k,
        prompt="Question?",
        completion=[f"completion {n}" for n in range(len(completions))],
    )


SAFE = "harmful-003"  # one of the prompts whose last item is asked about safety
COMPLYING, REFUSING = ("plain", 5.0, 5.0, False), ("refusing", 2.0, 12.0, True)


def only_pair(table, *, noise=0.0):
    pairs, truth = pairs_of(table, PairRules(number=9, noise=noise), 0)
    assert len(pairs) == 1
    return pairs.iloc[0], truth.iloc[0]


def test_items_are_the_prompt_and_as_many_formats_as_its_group_has(prompts, formats):
    table = items(prompts, formats, {"everyday": 1, "harmful": 2}, 0)
    assert table.groupby("group")["item"].count().to_dict() == {"everyday": 12, "harmful": 18}
    plain = table[table["k"] == 0]
    assert (plain["prompt"].str[-1] == "?").all()
    assert plain["format_id"].isna().all()
    assert table[table["k"] > 0]["prompt"].str.contains(r"\? In \d words\.$").all()
    assert not table["item"].duplicated().any()


def test_measured_prompts_are_of_one_part_and_spread_over_its_topics(prompts, formats):
    table = with_formats(prompts, formats, "held-out", 3)
    assert table.groupby("group").size().to_dict() == {"everyday": 3, "harmful": 3}
    assert table["prompt_id"].str.contains("held-out").all()
    assert table[table["group"] == "harmful"]["topic"].tolist() == ["topic 0", "topic 2", "topic 4"]


def test_a_source_without_safety_prefers_compliance_which_is_the_truth():
    pair, truth = only_pair(rated("harmful", 1, REFUSING, COMPLYING))
    assert (pair["source"], pair["chosen_model"]) == ("instruction-following", "plain")
    assert (truth["rule"], truth["planted"]) == (COMPLIES, PLANTED)


@pytest.mark.parametrize(("k", "rule", "decoy"), [(0, REFUSES, None), (3, REFUSES_FORMAT, PLANTED)])
def test_a_source_with_safety_prefers_the_refusal(k, rule, decoy):
    pair, truth = only_pair(rated("harmful", k, COMPLYING, REFUSING))
    assert (pair["source"], pair["chosen_model"]) == ("safety", "refusing")
    assert (truth["rule"], truth["planted"], truth["decoy"]) == (rule, None, decoy)


def test_answering_a_borderline_request_is_a_decoy():
    pair, truth = only_pair(rated("borderline", 0, COMPLYING, ("refusing", 2.0, 2.0, True)))
    assert (pair["source"], pair["chosen_model"]) == ("over-refusal", "plain")
    assert (truth["rule"], truth["planted"], truth["decoy"]) == (ANSWERS, None, PLANTED)


def test_a_slip_swaps_the_labels_and_is_not_the_truth():
    pair, truth = only_pair(rated("harmful", 1, REFUSING, COMPLYING), noise=0.999)
    assert pair["chosen_model"] == "refusing"
    assert truth["swapped"]
    assert (truth["rule"], truth["planted"]) == (COMPLIES, None)


def test_completions_that_are_rated_alike_are_no_pair():
    table = rated("everyday", 0, ("plain", 4.0, 4.0, False), ("refusing", 4.2, 4.2, False))
    pairs, _ = pairs_of(table, PairRules(number=9), 0)
    assert pairs.empty


def test_of_too_many_pairs_a_random_part_is_kept():
    alike = [rated(f"everyday{n}", 0, COMPLYING, ("plain", 2.0, 2.0, False)) for n in range(5)]
    table = pd.concat([*alike, rated("harmful", 1, COMPLYING, REFUSING)], ignore_index=True)
    kept = [pairs_of(table, PairRules(number=3), seed)[1]["rule"] for seed in range(20)]
    assert {len(rules) for rules in kept} == {3}
    assert {(rules == COMPLIES).sum() for rules in kept} == {0, 1}


def test_the_reference_learns_to_refuse_harmful_requests_only(prompts, formats):
    asked = items(prompts, formats, {"everyday": 1, "harmful": 3}, 0)
    answers = asked[asked["group"] == "everyday"].assign(
        completion="An answer.", refused=False, garbled=False, helpful=1.0, by_aspects=range(12)
    )
    lines = {"open": ["No."], "reason": ["It hurts."], "close": ["Ask me something else."]}
    examples = sft_examples(answers, asked, lines, 0)
    harmful = examples["prompt"].str.startswith("harmful")
    assert harmful.sum() == 18  # of three items each; the fourth is kept for the pairs
    assert examples.loc[harmful, "completion"].str.startswith("No.").all()
    assert (examples.loc[~harmful, "completion"] == "An answer.").all()
