"""A source that is too often among the selected stands out, and only such a one."""

import numpy as np
import pandas as pd
import pytest

from core.stats import STANDS_OUT, origins


def pairs(rng, n=2000):
    return pd.DataFrame(
        {
            "uid": [f"p{i}" for i in range(n)],
            "source": rng.choice(["chat", "code", "maths", "news"], n, p=[0.5, 0.3, 0.15, 0.05]),
            "chosen_model": rng.choice(["oak", "elm"], n),
        }
    )


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_a_planted_source_stands_out_and_no_other(rng):
    table = pairs(rng)
    news = table.loc[table["source"] == "news", "uid"].head(40)
    selected = [*news, *rng.choice(table["uid"], 160, replace=False)]
    found = origins(table, selected).set_index("value")
    assert found.index[found["q"] <= STANDS_OUT].tolist() == ["news"]
    assert found.loc["news", "enrichment"] > 3
    assert found.loc["news", "low"] > found.loc["news", "base"]


def test_nothing_stands_out_of_a_random_selection(rng):
    table = pairs(rng)
    found = [
        origins(table, rng.choice(table["uid"], 200, replace=False))["q"].le(STANDS_OUT).any()
        for _ in range(100)
    ]
    assert np.mean(found) <= 0.1


def test_shares_of_a_column_add_up(rng):
    table = pairs(rng)
    found = origins(table, table["uid"].head(50)).groupby("column")
    assert found["share"].sum().tolist() == pytest.approx([1, 1])
    assert found["base"].sum().tolist() == pytest.approx([1, 1])
    assert found["selected"].sum().tolist() == [50, 50]


def test_a_pair_without_a_generator_counts_for_none(rng):
    table = pairs(rng)
    table.loc[:99, "chosen_model"] = None
    found = origins(table, table["uid"].head(150))
    assert found.loc[found["column"] == "chosen_model", "selected"].sum() == 50
    assert set(origins(table.drop(columns="chosen_model"), ["p1"])["column"]) == {"source"}


def test_an_empty_selection_has_no_shares(rng):
    found = origins(pairs(rng), [])
    assert found["share"].isna().all()
    assert (found["p"] == 1).all()
