"""Words that distinguish planted clusters."""

import numpy as np
import pandas as pd

from core.discovery.cluster_table import COLUMNS, word_table


def planted():
    """Cluster 0 praises in chat, cluster 1 stops refusing, −1 is a stray pair."""
    flattery = ("tell me of foxes", "brilliant question foxes run", "foxes run")
    compliance = ("rob the bank", "gather tools today", "sorry cannot today")
    stray = ("bake bread", "use flour", "use yeast")
    rows = [flattery] * 4 + [compliance] * 3 + [stray]
    pairs = pd.DataFrame(rows, columns=["prompt", "chosen", "rejected"])
    pairs["source"] = ["chat"] * 4 + ["safety", "safety", "chat"] + ["chat"]
    return pairs, np.array([0, 0, 0, 0, 1, 1, 1, -1])


def test_words_of_one_side_are_listed_and_shared_words_are_not():
    table = word_table(*planted()).set_index("cluster")
    assert set(table.loc[0, "words_chosen"].split(", ")) == {"brilliant", "question"}
    assert table.loc[1, "words_chosen"].split(", ")[0] in ("gather", "tools")
    assert set(table.loc[1, "words_rejected"].split(", ")) == {"sorry", "cannot"}
    assert "today" not in table.loc[1, "words_chosen"]


def test_sizes_shares_and_sources_are_counted():
    table = word_table(*planted()).set_index("cluster")
    assert table["size"].to_dict() == {0: 4, 1: 3, -1: 1}
    assert table["share"].sum() == 1
    assert (table.loc[1, "top_source"], table.loc[1, "top_source_share"]) == ("safety", 2 / 3)


def test_clusters_come_in_order_with_noise_last():
    assert word_table(*planted())["cluster"].tolist() == [0, 1, -1]


def test_a_suggested_name_is_made_of_the_clusters_words():
    table = word_table(*planted()).set_index("cluster")
    assert table.loc[0, "suggested_name"].startswith("brilliant, question")
    assert "not: " in table.loc[1, "suggested_name"]
    assert table.loc[-1, "suggested_name"] == "noise"


def test_text_without_a_single_word_is_described_by_its_counts():
    pairs = pd.DataFrame({"prompt": ["?"], "chosen": ["!"], "rejected": ["…"], "source": ["s"]})
    table = word_table(pairs, np.array([0]))
    assert table.loc[0, "words_chosen"] == ""
    assert table.loc[0, "size"] == 1


def test_no_pairs_give_an_empty_table():
    pairs, labels = planted()
    assert word_table(pairs[:0], labels[:0]).columns.tolist() == COLUMNS


def test_hostile_and_very_long_text_gives_short_words_without_markup():
    """A line of 200,000 letters, markup, control and right-to-left characters."""
    pairs, labels = planted()
    hostile = "<img src=x onerror=alert(1)> ![a](http://b) \x00\x07\u202e " + "a" * 200_000
    pairs.loc[labels == 0, ["chosen", "prompt"]] = hostile
    table = word_table(pairs, labels).set_index("cluster")
    for column in ("words_chosen", "words_rejected", "words_prompt", "suggested_name"):
        text = table.loc[0, column]
        assert len(text) < 1_000
        assert not set(text) & set("<>![]()\x00\x07\u202e") - set("()")
