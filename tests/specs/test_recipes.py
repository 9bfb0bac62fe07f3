"""Recipes are described so that a person can check them."""

from typing import get_args

import pytest

from core.errors import UserError
from core.specs.recipe_text import describe_edit, describe_recipe
from core.specs.recipes import (
    Above,
    AllOf,
    AnyOf,
    BestWords,
    Contains,
    Edit,
    HasLength,
    InBand,
    InCluster,
    InPolygon,
    Matches,
    NoneOf,
    Recipe,
    TopK,
    Where,
    edit_of,
)

RANK, DISCOVER = "rank-0123456789abcdef", "discover-0123456789abcdef"
CHAT = Where(column="source", values=("chat",))
LOCK = Contains(column="prompt", phrase="lock")
DESCRIPTIONS = [
    (TopK(rank=RANK, k=1200), "the top 1,200 pairs for flattery by attribution"),
    (
        Above(rank=RANK, threshold=0.25, score="gated"),
        "pairs for flattery with gated similarity ≥ 0.25",
    ),
    (CHAT, "pairs whose source is chat"),
    (LOCK, "pairs whose prompt contains “lock”"),
    (Matches(column="chosen", pattern="^sure"), "pairs whose chosen matches /^sure/"),
    (
        BestWords(column="chosen", query="lock pick", k=50),
        "the 50 pairs whose chosen best matches the words “lock pick” (BM25)",
    ),
    (
        HasLength(column="chosen", low=10, high=2000),
        "pairs whose chosen has 10 to 2,000 characters",
    ),
    (HasLength(column="prompt", low=7), "pairs whose prompt has 7 or more characters"),
    (InBand(discover=DISCOVER, low=10, high=1999), "pairs 10 to 1,999 across the heatmap"),
    (InCluster(discover=DISCOVER, clusters=(1, 2)), "pairs of clusters 1, 2"),
    (InCluster(discover=DISCOVER, clusters=(4,), level="island"), "pairs of HDBSCAN cluster 4"),
    (InCluster(discover=DISCOVER, clusters=(-1,)), "pairs in no cluster"),
    (
        InPolygon(discover=DISCOVER, x=(0, 1, 1), y=(0, 0, 1)),
        "pairs inside a region of the map (3 corners)",
    ),
    (
        AllOf(parts=(CHAT, LOCK)),
        "pairs whose source is chat and pairs whose prompt contains “lock”",
    ),
    (
        AllOf(parts=(CHAT, AnyOf(parts=(LOCK, LOCK)))),
        "pairs whose source is chat and (pairs whose prompt contains “lock” or "
        "pairs whose prompt contains “lock”)",
    ),
    (AnyOf(parts=(CHAT, CHAT)), "pairs whose source is chat or pairs whose source is chat"),
    (NoneOf(parts=(CHAT,)), "all pairs except pairs whose source is chat"),
]


@pytest.mark.parametrize(("recipe", "phrase"), DESCRIPTIONS)
def test_a_recipe_is_described_in_words(recipe, phrase):
    assert describe_recipe(recipe, {RANK: "flattery"}) == phrase


def test_every_kind_of_recipe_has_words():
    kinds = {type(recipe) for recipe, _ in DESCRIPTIONS}
    assert kinds == set(get_args(get_args(Recipe)[0]))


def test_an_edit_is_described_as_an_order():
    assert describe_edit(Edit(action="remove", recipe=CHAT)) == (
        "remove pairs whose source is chat"
    )


def test_many_values_are_counted_rather_than_listed():
    many = Where(column="source", values=tuple(f"s{i}" for i in range(9)))
    assert describe_recipe(many).endswith("s5 and 3 more")


def test_a_long_list_of_uids_is_described_by_why_it_was_made():
    listed = Where(column="uid", values=tuple(f"u{i}" for i in range(9)))
    assert describe_edit(Edit(action="flip", recipe=listed)) == "flip 9 pairs listed by uid"
    edit = Edit(action="flip", recipe=listed, why="the 9 pairs that a person read")
    assert describe_edit(edit) == "flip the 9 pairs that a person read"


def test_a_curve_is_described_by_its_points():
    curve = {"rank": RANK, "points": [(0.1, 1), (0.3, 0)]}
    edit = Edit(action="weight", recipe=CHAT, curve=curve)
    assert describe_edit(edit, {RANK: "flattery"}) == (
        "weight by attribution for flattery (1 at 0.1, 0 at 0.3) pairs whose source is chat"
    )
    assert edit.runs() == [RANK]


@pytest.mark.parametrize(
    ("detail", "message"),
    [
        ({"weight": float("nan")}, "finite number"),
        ({"weight": -0.5}, "greater than or equal to 0"),
        ({"weight": 1, "curve": {"rank": RANK, "points": [(0, 1), (1, 0)]}}, "weight or curve"),
        ({}, "weight or curve comes with the action 'weight'"),
        ({"curve": {"rank": RANK, "points": [(0, 1)]}}, "at least 2 items"),
        ({"curve": {"rank": RANK, "points": [(0.3, 1), (0.1, 0)]}}, "scores of a curve's points"),
        ({"curve": {"rank": RANK, "points": [(0, 1), (0, 0)]}}, "scores of a curve's points"),
        ({"curve": {"rank": RANK, "points": [(0, 1), (1, -1)]}}, "greater than or equal to 0"),
        ({"curve": {"rank": RANK, "points": [(0, 1), (float("nan"), 0)]}}, "finite number"),
    ],
)
def test_weights_that_are_none_are_refused(detail, message):
    with pytest.raises(UserError, match=message):
        edit_of("weight", CHAT, **detail)


@pytest.mark.parametrize("new", ["", "  \n", "\u00a0"])
def test_a_rewrite_that_empties_a_completion_is_refused(new):
    with pytest.raises(UserError, match="the chosen text is empty"):
        edit_of("rewrite", CHAT, rewrite={"side": "chosen", "old": "Sure.", "new": new})
