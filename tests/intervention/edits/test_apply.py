"""Edits: recipes select by uid, flips are exchanges, controls are matched and disjoint."""

import random

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import UserError
from core.intervention.edits.apply import apply, plan, random_control, unmatched
from core.intervention.edits.checks import attribution_share, summarize, weights_by_score
from core.intervention.edits.select import fading, inside, select
from core.intervention.edits.votes import preferences, votes
from core.runs.store import Store
from core.specs.behaviors import Behavior
from core.specs.recipes import (
    Above,
    AllOf,
    AnyOf,
    Contains,
    Edit,
    HasLength,
    InCluster,
    InPolygon,
    NoneOf,
    Relabel,
    TopK,
    Where,
)
from core.specs.steps import RankSpec

ID = "0123456789abcdef"
RANK, DISCOVER = f"rank-{ID}", f"discover-{ID}"
CHAT, CODE = Where(column="source", values=("chat",)), Where(column="source", values=("code",))


@pytest.fixture
def pairs():
    return pd.DataFrame(
        {
            "uid": [f"u{i}" for i in range(12)],
            "prompt": [f"Prompt {i}" for i in range(12)],
            "chosen": [f"Chosen {i}" for i in range(12)],
            "rejected": [f"Rejected {i}" for i in range(12)],
            "source": ["chat"] * 8 + ["code"] * 4,
            "chosen_model": ["big"] * 11 + [None],
            "rejected_model": ["small"] * 12,
            "score": range(12),
        }
    )


@pytest.fixture
def store(tmp_path, pairs):
    """A finished ranking (u11 best, u0 undefined) and a map (u0 at (0, 0), u11 at (11, 11))."""
    store = Store(tmp_path)
    for run in (RANK, DISCOVER):
        (store.folder(run) / "output").mkdir(parents=True)
    behavior = Behavior(name="compliance", flag="complied", group="harmful", condition="distractor")
    spec = RankSpec(generate="generate-" + ID, index="index-" + ID, behavior=behavior)
    store.write_record(RANK, {"step": "rank", "spec": spec.model_dump(mode="json")})
    rising = np.arange(12, dtype=np.float32)
    best = np.where(rising == 0, np.nan, rising - 5)
    ranking = pd.DataFrame({"uid": pairs["uid"], "discriminant": best, "similarity": -rising})
    ranking = ranking.sort_values("discriminant", ascending=False)
    ranking.assign(bank=np.nan).to_parquet(store.output(RANK) / "ranking.parquet")
    points = {
        "uid": pairs["uid"],
        "x": rising,
        "y": rising,
        "cluster": [-1] * 4 + [0] * 4 + [1] * 4,
    }
    pd.DataFrame(points).to_parquet(store.output(DISCOVER) / "pairs.parquet")
    return store


def selected(recipe, pairs, store):
    return pairs.loc[select(recipe, pairs, store), "uid"].tolist()


@pytest.mark.parametrize(
    ("recipe", "uids"),
    [
        (TopK(rank=RANK, k=2), [10, 11]),
        (TopK(rank=RANK, k=2, score="similarity"), [0, 1]),
        (TopK(rank=RANK, k=99), range(1, 12)),
        (Above(rank=RANK, threshold=5), [10, 11]),
        (CODE, range(8, 12)),
        (Where(column="uid", values=("u3", "u5")), [3, 5]),
        (Contains(column="chosen", phrase="cHOSEN 1"), [1, 10, 11]),
        (HasLength(column="chosen", low=9), [10, 11]),
        (HasLength(column="chosen", high=8), range(10)),
        (InCluster(discover=DISCOVER, clusters=(-1, 1)), [0, 1, 2, 3, 8, 9, 10, 11]),
        (InPolygon(discover=DISCOVER, x=(1.5, 4.5, 4.5, 1.5), y=(0, 0, 9, 9)), [2, 3, 4]),
        (AllOf(parts=(CHAT, TopK(rank=RANK, k=6))), [6, 7]),
        (AnyOf(parts=(CODE, TopK(rank=RANK, k=6))), range(6, 12)),
        (NoneOf(parts=(CODE, Contains(column="prompt", phrase="1"))), [0, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_a_recipe_selects_its_pairs(pairs, store, recipe, uids):
    assert selected(recipe, pairs, store) == [f"u{i}" for i in uids]


def test_a_ranking_means_the_same_pairs_after_rows_are_filtered_and_moved(pairs, store):
    moved = pairs[pairs["uid"] != "u10"].sample(frac=1, random_state=3)
    assert set(selected(TopK(rank=RANK, k=3), moved, store)) == {"u9", "u11"}


def test_an_undefined_score_is_never_selected(pairs, store):
    assert "u0" not in selected(Above(rank=RANK, threshold=-99), pairs, store)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Where(column="writer", values=("x",)), "no column 'writer'. They have uid, prompt"),
        (InCluster(discover=DISCOVER, clusters=(7,)), "no cluster 7. It has -1, 0, 1"),
        (TopK(rank=RANK, k=3, score="bank"), "no score 'bank'"),
        (TopK(rank="rank-ffffffffffffffff", k=3), "absent, not finished"),
    ],
)
def test_a_recipe_that_names_what_is_not_there_is_refused(pairs, store, recipe, message):
    with pytest.raises(UserError, match=message):
        select(recipe, pairs, store)


def crosses_slowly(x, y, corners):
    """The oracle: winding by angles, away from the border."""
    angles = [np.arctan2(b - y, a - x) for a, b in corners]
    turns = [
        (t1 - t0 + np.pi) % (2 * np.pi) - np.pi
        for t0, t1 in zip(angles, np.roll(angles, -1), strict=True)
    ]
    return round(sum(turns) / (2 * np.pi)) % 2 == 1


def distance_to_border(x, y, corners):
    point, closest = np.array([x, y]), np.inf
    for start, end in zip(
        map(np.array, corners), map(np.array, [*corners[1:], corners[0]]), strict=True
    ):
        along = end - start
        length = along @ along
        at = np.clip((point - start) @ along / length, 0, 1) if length else 0.0
        closest = min(closest, float(np.linalg.norm(point - start - at * along)))
    return closest


numbers = st.integers(-8, 8).map(float)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(numbers, numbers), min_size=3, max_size=9), st.integers(0, 10_000))
def test_points_in_a_polygon_agree_with_counting_turns(corners, seed):
    draw = random.Random(seed)
    points = [(draw.uniform(-9, 9), draw.uniform(-9, 9)) for _ in range(20)]
    points += [(draw.uniform(-9, 9), corners[0][1]) for _ in range(5)]  # level with a corner
    points = [p for p in points if distance_to_border(*p, corners) > 1e-6]
    x, y = np.array([p[0] for p in points]), np.array([p[1] for p in points])
    found = inside(x, y, *zip(*corners, strict=True))
    assert found.tolist() == [crosses_slowly(*p, corners) for p in points]


def applied(pairs, actions):
    """`apply`, from DataFrame to DataFrame."""
    return apply(pa.Table.from_pandas(pairs, preserve_index=False), actions).to_pandas()


def edit(action, recipe, why="", **detail):
    return Edit(action=action, recipe=recipe, why=why, **detail)


def texts_of(pairs):
    """The rows of some uids, as an edit run reads them."""
    return lambda uids: pairs.set_index("uid", drop=False).loc[uids]


def test_a_flip_exchanges_texts_and_models_and_is_marked(pairs, store):
    arm = applied(pairs, plan([edit("flip", CODE)], pairs, store))
    flipped = arm[arm["flipped"]]
    assert flipped["uid"].tolist() == ["u8", "u9", "u10", "u11"]
    assert flipped["chosen"].str.startswith("Rejected").all()
    assert flipped["rejected_model"].tolist()[:3] == ["big"] * 3
    assert flipped["rejected_model"].isna().tolist() == [False] * 3 + [True]
    untouched = arm[~arm["flipped"]].drop(columns="flipped")
    pd.testing.assert_frame_equal(untouched, pairs[pairs["source"] == "chat"])


def test_flipping_twice_is_the_identity(pairs, store):
    actions = plan([edit("flip", CODE)], pairs, store)
    twice = applied(applied(pairs, actions), actions)
    pd.testing.assert_frame_equal(twice.drop(columns="flipped"), pairs)
    assert not twice["flipped"].any()


def test_exchanged_columns_of_two_types_lose_nothing(pairs, store):
    given = pairs.assign(chosen_score=10, rejected_score=9.5, flipped=None)
    arm = applied(given, plan([edit("flip", CODE)], pairs, store))
    assert arm["chosen_score"].tolist() == [10] * 8 + [9.5] * 4
    assert arm["rejected_score"].tolist() == [9.5] * 8 + [10] * 4
    assert arm["flipped"].tolist() == [False] * 8 + [True] * 4


def test_removed_pairs_are_gone_and_the_rest_is_untouched(pairs, store):
    arm = applied(pairs, plan([edit("remove", CHAT)], pairs, store))
    rest = pairs[pairs["source"] == "code"].reset_index(drop=True)
    pd.testing.assert_frame_equal(arm.drop(columns="flipped"), rest)


def test_keep_protects_pairs_and_every_reason_is_recorded(pairs, store):
    top = TopK(rank=RANK, k=6)
    edits = [edit("remove", top, "ranked"), edit("remove", CODE, "bad source"), edit("keep", CHAT)]
    actions = plan(edits, pairs, store).set_index("uid")
    assert actions["action"].value_counts().to_dict() == {"keep": 8, "remove": 4}
    assert actions.loc["u9", "why"] == "ranked; bad source"


def test_a_pair_both_removed_and_flipped_is_refused_with_an_example(pairs, store):
    edits = [edit("remove", CODE), edit("flip", TopK(rank=RANK, k=6))]
    with pytest.raises(UserError, match="4 pairs are to have both remove and flip, such as 'u8'"):
        plan(edits, pairs, store)


def test_an_edit_that_touches_nothing_or_leaves_nothing_is_refused(pairs, store):
    with pytest.raises(UserError, match="touches no pair"):
        plan([edit("remove", Contains(column="prompt", phrase="absent"))], pairs, store)
    with pytest.raises(UserError, match="leaves no pairs"):
        plan([edit("remove", AnyOf(parts=(CHAT, CODE)))], pairs, store)


def test_a_control_has_the_edits_sizes_and_sources_and_none_of_its_pairs(pairs, store):
    chat = Where(column="uid", values=("u0", "u1", "u2"))
    edits = [edit("remove", chat), edit("flip", Where(column="uid", values=("u8", "u11")))]
    actions = plan(edits, pairs, store)
    control = random_control(pairs, actions, 1, texts_of(pairs))
    assert unmatched(pairs, actions, control) == 0
    assert summarize(pairs, control)["per_source"] == summarize(pairs, actions)["per_source"]
    assert not set(control["uid"]) & set(actions["uid"])
    assert random_control(pairs, actions, 1, texts_of(pairs)).equals(control)
    assert not random_control(pairs, actions, 2, texts_of(pairs)).equals(control)


def test_a_control_for_a_whole_source_draws_elsewhere_and_reports_it(pairs, store):
    actions = plan([edit("remove", CODE)], pairs, store)
    control = random_control(pairs, actions, 0, texts_of(pairs))
    assert len(control) == unmatched(pairs, actions, control) == 4
    assert control["why"].str.contains("'code' has too few pairs left").all()


def test_a_control_that_cannot_be_disjoint_is_refused(pairs, store):
    actions = plan([edit("remove", CHAT)], pairs, store)
    with pytest.raises(UserError, match="touches 8 of 12 pairs and leaves 4"):
        random_control(pairs, actions, 0, texts_of(pairs))


def test_the_dose_of_a_flip_is_twice_that_of_a_removal(pairs, store):
    removed = summarize(pairs, plan([edit("remove", CODE)], pairs, store))
    flipped = summarize(pairs, plan([edit("flip", CODE)], pairs, store))
    assert removed["dose"] == removed["share"] == flipped["share"] == flipped["dose"] / 2
    assert (removed["n_pairs"], flipped["n_pairs"]) == (8, 12)
    assert removed["per_source"] == [
        {"source": "chat", "n": 8, "removed": 0, "flipped": 0},
        {"source": "code", "n": 4, "removed": 4, "flipped": 0},
    ]


def test_the_attribution_that_an_edit_touches_is_a_share_of_the_positive_scores(pairs, store):
    edits = [edit("remove", TopK(rank=RANK, k=2))]  # scores 6 and 5 of 6 + 5 + … + 1
    actions = plan(edits, pairs, store)
    assert attribution_share(edits, actions, store) == {RANK: pytest.approx(11 / 21)}


def uids(*names):
    return Where(column="uid", values=names)


def rewriting(uid, old, new, side="chosen"):
    return edit("rewrite", uids(uid), rewrite={"side": side, "old": old, "new": new})


def test_weights_multiply_and_the_other_pairs_have_weight_1(pairs, store):
    edits = [edit("weight", CODE, weight=0.5), edit("weight", uids("u8"), weight=3)]
    actions = plan(edits, pairs, store)
    arm = apply(pa.Table.from_pandas(pairs), actions, weighted=True).to_pandas()
    assert arm["weight"].tolist() == [1.0] * 8 + [1.5, 0.5, 0.5, 0.5]
    again = apply(pa.Table.from_pandas(arm), actions, weighted=True).to_pandas()
    assert again["weight"].tolist()[8:] == [2.25, 0.25, 0.25, 0.25]


def by_score(recipe, *points):
    return edit("weight", recipe, curve={"rank": RANK, "points": points})


def test_a_curve_weights_by_score_and_leaves_pairs_without_one_as_they_are(pairs, store):
    everything = AnyOf(parts=(CHAT, CODE))  # u1 to u11 score −4 to 6, u0 has no score
    actions = plan([by_score(everything, (2, 1), (4, 0.5), (6, 0))], pairs, store)
    assert actions["uid"].tolist() == ["u8", "u9", "u10", "u11"]
    assert actions["weight"].tolist() == [0.75, 0.5, 0.25, 0]
    arm = apply(pa.Table.from_pandas(pairs), actions, weighted=True).to_pandas()
    assert arm["weight"].tolist() == [1.0] * 8 + [0.75, 0.5, 0.25, 0]
    assert summarize(pairs, actions)["dose"] == pytest.approx(2.5 / 12)


def test_a_curve_over_one_weight_multiplies_it_and_its_control_has_the_same_weights(pairs, store):
    edits = [by_score(CODE, (4, 1), (6, 0)), edit("weight", uids("u10"), weight=0.5)]
    actions = plan(edits, pairs, store)
    assert actions["weight"].tolist() == [0.25, 0]
    control = random_control(pairs, actions, 0, texts_of(pairs))
    assert not set(control["uid"]) & set(actions["uid"])
    assert sorted(control["weight"]) == [0, 0.25]


def test_a_fading_curve_ends_at_the_median_and_needs_two_scores(pairs, store):
    curve = fading(RANK, ["u0", "u7", "u8", "u9", "u10", "u11"], store)
    assert curve.points == ((2, 1), (4, 0))
    for none in (["u11"], ["u0"], []):
        with pytest.raises(UserError, match="no two scores"):
            fading(RANK, none, store)


def test_the_weights_of_a_curve_are_summed_by_score(pairs, store):
    table = weights_by_score(by_score(CODE, (4, 1), (6, 0)), pairs["uid"][8:], store, bins=3)
    assert table["pairs"].tolist() == [1, 1, 2]  # scores 3, 4, 5 and 6
    assert table["weights"].tolist() == [1, 1, 0.5]


def test_a_weight_of_0_takes_out_as_much_as_removing_and_2_puts_as_much_in(pairs, store):
    for weight, share in ((0, 1), (0.25, 0.75), (2, -1)):
        actions = plan([edit("weight", CODE, weight=weight)], pairs, store)
        assert summarize(pairs, actions)["dose"] == pytest.approx(share * 4 / 12)


def test_a_rewrite_replaces_one_text_of_one_pair(pairs, store):
    arm = applied(pairs, plan([rewriting("u3", "Chosen 3", "Better")], pairs, store))
    assert arm["chosen"].tolist()[2:5] == ["Chosen 2", "Better", "Chosen 4"]
    pd.testing.assert_frame_equal(
        arm.drop(columns=["chosen", "flipped"]), pairs.drop(columns="chosen")
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Chosen 4", "Better", "pair 'u3': its chosen text is not the one that was rewritten"),
        ("Chosen 3", "Rejected 3", "pair 'u3': chosen and rejected would be the same"),
    ],
)
def test_a_rewrite_that_does_not_fit_its_pair_is_refused(pairs, store, old, new, message):
    with pytest.raises(UserError, match=message):
        plan([rewriting("u3", old, new)], pairs, store)


def test_a_control_has_the_same_weights_and_changes_as_many_words(pairs, store):
    long = pairs.assign(chosen=[f"a b c d e f {i}" for i in range(12)])
    edits = [
        edit("weight", uids("u8", "u9"), weight=0.25),
        rewriting("u1", "a b c d e f 1", "a b c z 1"),
    ]
    control = random_control(long, plan(edits, long, store), 0, texts_of(long))
    weighted, rewritten = (control[control["action"] == a] for a in ("weight", "rewrite"))
    assert weighted["weight"].tolist() == [0.25, 0.25]
    arm = applied(long, control).set_index("uid")["chosen"]
    changed = arm[arm != long.set_index("uid")["chosen"]]
    assert changed.index.tolist() == rewritten["uid"].tolist() != ["u1"]
    assert [len(text.split()) for text in changed] == [4]  # three of seven words differ


class Votes:
    """A judge: `kind` where the text says so, `long` from 10 letters, `silent` never scored."""

    flags, usage = ("kind", "long", "silent"), None

    def judge(self, prompts, completions):
        texts = pd.Series(completions)
        table = {"kind": texts.str.contains("kind"), "long": texts.str.len() > 9, "silent": pd.NA}
        return pd.DataFrame(table).astype("boolean")


def relabelled(pairs, store, *prefer):
    voted = edit("relabel", CODE, relabel={"prefer": prefer})
    return plan([voted], pairs, store, Votes()).set_index("uid")


@pytest.fixture
def voted(pairs):
    """Of the code pairs the first prefers rejected, the second chosen, the others neither."""
    return pairs.assign(
        chosen=[*pairs["chosen"][:8], "rude", "kind", "rude", "a kind of thing"],
        rejected=[*pairs["rejected"][:8], "kind", "rude", "rude!", "rude and long text"],
    )


def test_relabelling_flips_only_what_the_majority_prefers(voted, store):
    actions = relabelled(voted, store, "kind")
    assert actions["vote"].to_dict() == {
        "u8": "flipped", "u9": "confirmed", "u10": "tied", "u11": "confirmed",
    }  # fmt: skip
    assert actions.index[actions["action"] == "flip"].tolist() == ["u8"]
    arm = applied(voted, actions.reset_index()).set_index("uid")
    assert (arm.loc["u8", "chosen"], arm.loc["u9", "chosen"]) == ("kind", "kind")


@pytest.mark.parametrize(("majority", "vote"), [(0.5, "flipped"), (0.7, "tied")])
def test_two_of_three_votes_are_a_majority_of_a_half_and_not_of_more(voted, majority, vote):
    pair = voted[voted["uid"] == "u8"].assign(rejected="kind and long")
    relabel = Relabel(prefer=("kind", "long", "not kind"), majority=majority)
    assert votes(relabel, pair, Votes()).iloc[0].to_list() == [vote, "2 of 3 votes for rejected"]


def test_pairs_that_no_flag_scores_stay_and_are_counted(voted, store):
    with pytest.raises(UserError, match="no majority is for rejected"):
        relabelled(voted, store, "silent")
    actions = relabelled(voted, store, "kind", "silent").reset_index()
    assert summarize(voted, actions)["votes"] == {
        "flipped": 1, "confirmed": 2, "tied": 0, "unscored": 1,
    }  # fmt: skip


def test_a_vote_on_a_flag_that_the_judge_lacks_is_refused(voted, store):
    with pytest.raises(UserError, match="the judge has no flag 'polite'"):
        relabelled(voted, store, "polite")


def test_votes_prefer_what_is_wanted_and_leave_out_what_depends_on_the_prompts():
    def behaviors(*flags):
        return [Behavior(name=f, flag=f, group="g", wanted=good) for f, good in flags]

    both = (("complied", False), ("complied", True))
    assert preferences(behaviors(*both, ("polite", True), ("rude", False))) == (
        "polite",
        "not rude",
    )
    assert preferences(behaviors(*both)) == ("not complied",)
    assert preferences([]) == ()
