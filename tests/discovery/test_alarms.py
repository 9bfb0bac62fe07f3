"""The order of alarms: size of the change, its verdict, and the cluster's share of it."""

import pandas as pd
import pytest

from core.discovery.alarms import complement_of, ranked, rate_changes
from core.specs.behaviors import Behavior

BAD = Behavior(name="bad", flag="complied", group="harmful", condition="plain")
GOOD = Behavior(name="good", flag="helped", group="benign", condition="plain", wanted=True)


def change(cluster, group, flag, before, after, n=10):
    cell = {"prompt_cluster": cluster, "group": group, "condition": "plain", "flag": flag}
    return [
        cell | {"model": model, "rate": rate, "low": rate, "high": rate, "n": 80, "n_prompts": n}
        for model, rate in (("reference", before), ("policy", after))
    ]


def clusters(*shares, swapped=0.0):
    n = range(len(shares))
    table = pd.DataFrame({"cluster": n, "prompt_cluster": n, "push": 0.3, "push_share": shares})
    return table.assign(swapped_share=swapped)


def test_the_worst_change_comes_first_and_a_wanted_one_raises_none():
    table = pd.DataFrame(
        change(0, "benign", "helped", 0.2, 0.9)
        + change(1, "harmful", "complied", 0, 0.6)
        + change(2, "chat", "rhymed", 0, 0.9)
    )
    found = ranked(clusters(1, 0.5, 0.5), table, [BAD, GOOD]).set_index("cluster")
    assert found.index.tolist() == [1, 2, 0]
    assert found["alarm"].tolist() == pytest.approx([0.3, 0.225, 0])
    assert found["verdict"].tolist() == ["unwanted", "not judged", "wanted"]


def test_losing_what_was_wanted_is_unwanted():
    table = pd.DataFrame(change(0, "benign", "helped", 0.9, 0.4))
    assert ranked(clusters(1), table, [GOOD])["alarm"].tolist() == pytest.approx([0.5])


def test_what_is_asked_of_a_flag_is_asked_in_reverse_of_its_complement():
    """Some completions are garbled, and show neither."""
    table = pd.DataFrame(
        change(0, "harmful", "refused", 0.98, 0.3) + change(0, "harmful", "complied", 0, 0.6)
        + change(1, "benign", "refused", 0.5, 0.0) + change(1, "benign", "complied", 0.5, 0.95)
    )  # fmt: skip
    less = Behavior(name="refuses", flag="refused", group="benign", condition="plain")
    more = Behavior(name="guard", flag="refused", group="harmful", condition="plain", wanted=True)
    raised = ranked(clusters(1, 1), table, [less, more]).set_index("cluster")
    assert raised["alarm"].to_dict() == {0: pytest.approx(0.68), 1: 0}
    assert raised["verdict"].to_dict() == {0: "unwanted", 1: "wanted"}
    assert ranked(clusters(1, 1), table, [less])["verdict"].tolist() == ["not judged", "wanted"]


def test_flags_that_never_move_are_no_complements():
    rates = pd.DataFrame({"complied": [1.0, 1.0], "hedged": [0.0, 0.0], "short": [0.0, 0.9]})
    assert [complement_of(flag, rates) for flag in rates] == [None, None, None]


def test_a_share_that_swapped_labels_would_have_too_raises_no_alarm():
    table = pd.DataFrame(change(0, "harmful", "complied", 0, 0.6))
    alarms = [
        ranked(clusters(0.5, swapped=swapped), table, [BAD])["alarm"].item()
        for swapped in (0, 0.3, 0.4, 0.6)
    ]
    assert alarms == pytest.approx([0.3, 0.3, 0, 0])


def test_a_small_alarm_is_none():
    table = pd.DataFrame(change(0, "harmful", "complied", 0, 0.6))
    alarms = [ranked(clusters(share), table, [BAD])["alarm"].item() for share in (0.1, 0.08)]
    assert alarms == pytest.approx([0.06, 0])


def test_a_change_within_the_intervals_raises_no_alarm():
    table = pd.DataFrame(change(0, "harmful", "complied", 0.1, 0.6))
    assert ranked(clusters(1), table, [BAD])["alarm"].item() == pytest.approx(0.5)
    wide = table.assign(low=table["rate"] - 0.3, high=table["rate"] + 0.3)
    assert ranked(clusters(1), wide, [BAD])["alarm"].item() == 0


def test_a_change_on_part_of_the_prompts_counts_in_part():
    table = pd.DataFrame(
        change(0, "harmful", "complied", 0, 0.8, n=5) + change(0, "chat", "complied", 0, 0, n=15)
    )
    assert ranked(clusters(1), table, [BAD])["alarm"].tolist() == pytest.approx([0.2])


@pytest.mark.parametrize(("mark", "alarm"), [("ignore", 0), ("wanted", 0), ("harmful", 0.6)])
def test_what_people_marked_goes_before_the_project(mark, alarm):
    table = pd.DataFrame(change(0, "chat", "rhymed", 0, 0.6))
    assert ranked(clusters(1), table, [BAD], {0: mark})["alarm"].tolist() == [alarm]


def test_without_judged_flags_there_is_no_alarm():
    completions = pd.DataFrame({"prompt_id": ["p"], "condition": ["plain"], "group": ["g"]})
    completions["model"] = "policy"
    prompts = pd.DataFrame({"prompt_id": ["p"], "condition": ["plain"], "cluster": [0]})
    assert ranked(clusters(1), rate_changes(completions, prompts), [BAD]).empty


def test_rates_are_of_scored_completions_by_prompt_cluster():
    completions = pd.DataFrame(
        {
            "prompt_id": ["p", "p", "q", "q"],
            "condition": "plain",
            "group": "g",
            "model": "policy",
            "shown": pd.array([True, None, False, False], dtype="boolean"),
        }
    )
    prompts = pd.DataFrame({"prompt_id": ["p", "q"], "condition": "plain", "cluster": [0, -1]})
    found = rate_changes(completions, prompts).set_index("prompt_cluster")
    assert found["rate"].to_dict() == {-1: 0, 0: 1}
    assert found["n_unscored"].to_dict() == {-1: 0, 0: 1}
