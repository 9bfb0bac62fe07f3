"""Which methods have room for their name in the chart of quality and cost."""

import pandas as pd
import pytest

from core.report.figures import place_labels

CHEAPEST = ("random", 1e-4, 0.1)


def labels(*places):
    table = pd.DataFrame([*places, CHEAPEST], columns=["method", "cpu_seconds", "mean"])
    placed = place_labels(table)
    sides = placed["side"].str.removeprefix("middle ")
    return list(zip(placed["label"], sides, strict=True))[:-1]


def test_a_label_with_room_is_right_of_its_marker():
    assert labels(("gated", 1.0, 0.9), ("length", 1.0, 0.2)) == [
        ("gated", "right"),
        ("length", "right"),
    ]


@pytest.mark.parametrize("higher", [0.0, 0.02])
def test_a_label_that_would_cover_a_marker_is_left_of_its_own(higher):
    assert labels(("a long name", 1.0, 0.9 + higher), ("b", 2.0, 0.9))[0] == (
        "a long name",
        "left",
    )


def test_no_label_leaves_the_chart_on_the_left():
    assert labels(("a very long name indeed", 1e-3, 0.9), ("b", 2e-3, 0.9))[0][0] == ""


def test_a_method_between_two_others_has_no_label():
    placed = labels(("a", 0.5, 0.91), ("a long name", 1.0, 0.9), ("b", 2.0, 0.91))
    assert placed[1][0] == ""
