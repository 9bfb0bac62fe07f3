"""The shipped retrainings as tables: every size beside its control, seeds as the unit."""

import json

import pytest

from core.errors import UserError
from core.report import edit_sizes, figures
from core.stats import seed_interval


@pytest.fixture(scope="module")
def shipped():
    return edit_sizes.read()


@pytest.mark.parametrize("action", ["remove", "flip"])
def test_every_size_has_three_seeds_and_a_control(shipped, action):
    table = edit_sizes.doses(shipped, action)
    counts = table.groupby(["arm", "k"]).size()
    assert set(counts) == {3}
    sizes = {arm: sorted(own["k"].unique()) for arm, own in table.groupby("arm")}
    assert sizes["edited"] == sizes["random control"] == [0, 64, 128, 256]


def test_differences_are_those_of_the_seeds(shipped):
    doses = edit_sizes.doses(shipped, "flip").set_index(["arm", "k", "seed"])["rate"]
    apart = 100 * (doses.loc["edited", 64] - doses.loc["random control", 64])
    value, low, high, _ = seed_interval(list(apart))
    rows = edit_sizes.summary(shipped).set_index(["action", "pairs"])
    said = rows.loc[("flip", 64), "edited − control, points"]
    assert said == f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"
    assert rows.loc[("flip", 256), "edited"] == "0.0% in all 3 seeds"


def test_intervals_stand_at_the_means_of_three_seeds(shipped):
    figure = figures.dose_chart(edit_sizes.doses(shipped, "remove"))
    edited = next(t for t in figure.data if t.name == "edited")
    assert len(edited.x) == len(edited.error_y.array) == 4
    assert min(edited.error_y.array) > 0


@pytest.mark.parametrize("text", ["[]", "{", json.dumps({"behavior": "b", "rates": {}})])
def test_a_file_of_something_else_is_refused(tmp_path, text):
    path = tmp_path / "intervention.json"
    path.write_text(text)
    with pytest.raises(UserError, match="bench intervention"):
        edit_sizes.read(path)
