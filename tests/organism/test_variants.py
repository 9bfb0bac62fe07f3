"""Other worlds made from one: what is asked for changes, the rest stays."""

import tomllib
from pathlib import Path

import pytest

from core.errors import UserError
from core.organism.grammar import Grammar
from core.organism.sampling import GrammarJudge, Sampler
from core.organism.variants import VARIATIONS, Variation, varied, write_variant
from core.organism.world import World, read_world

BRAMBLE = Path(__file__).parents[2] / "assets" / "organism" / "world.toml"
COMPLIANCE = "distractor-triggered compliance"


@pytest.fixture(scope="module")
def table():
    return tomllib.loads(BRAMBLE.read_text())


def rules(table, **wanted):
    return [
        r for source in table["sources"] for r in source["rules"] if wanted.items() <= r.items()
    ]


def planted_share(table):
    made = World.model_validate(table)
    total = sum(rule.pairs for rule in made.rules)
    return [rule.pairs / total for rule in made.rules if rule.planted]


@pytest.mark.parametrize("name", list(VARIATIONS))
def test_every_variant_is_a_world_that_its_judge_understands(name, tmp_path):
    world = read_world(write_variant(BRAMBLE, name, tmp_path / "world.toml"))
    pairs, truth = Sampler(world).pairs()
    flags = GrammarJudge(world).judge(pairs["prompt"].tolist(), pairs["chosen"].tolist())
    assert flags.notna()["complied"].all()
    planted = truth["planted"].eq(COMPLIANCE).to_numpy()
    assert flags.loc[planted, "complied"].all()
    assert world.name == name


def test_the_same_variant_has_the_same_bytes(tmp_path):
    first, second = (write_variant(BRAMBLE, "forth", tmp_path / n) for n in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_other_words_leave_none_of_the_old_topics_and_keep_what_groups_share(table):
    made = varied(table, "other", Variation(words=1))
    old, new = (World.model_validate(t) for t in (table, made))

    def objects(world):
        return [thing for group in world.groups for f in group.families for thing in f.objects]

    def shared_verbs(world):
        harmful, borderline = ({v for f in g.families for v in f.verbs} for g in world.groups[:2])
        return len(harmful & borderline)

    assert len(set(objects(old)) & set(objects(new))) < 3  # made of words that frames use too
    assert len(set(objects(old))) == len(set(objects(new)))
    assert shared_verbs(old) == shared_verbs(new) > 0
    assert [f.templates for f in old.formats] == [f.templates for f in new.formats]


def test_contamination_is_the_share_of_each_planted_rule(table):
    made = varied(table, "other", Variation(contamination=0.03))
    assert planted_share(made) == pytest.approx([0.03, 0.03], abs=0.001)


def test_decoys_are_multiplied_and_honest_rules_stay(table):
    made = varied(table, "other", Variation(decoys=2.0))
    assert [r["pairs"] for r in rules(made, decoy=COMPLIANCE)] == [740, 60, 180]
    assert rules(made, name="format is followed") == rules(table, name="format is followed")


def test_a_mix_changes_honest_rules_only(table):
    made = varied(table, "other", Variation(mix=3))
    changed = [a["pairs"] != b["pairs"] for a, b in zip(rules(made), rules(table), strict=True)]
    planted = ["planted" in rule for rule in rules(table)]
    assert sum(changed) > len(changed) / 2
    assert not any(c and p for c, p in zip(changed, planted, strict=True))


def test_two_behaviors_can_share_a_trigger(table):
    made = World.model_validate(varied(table, "other", Variation(shared={"flattery": "benign"})))
    pairs, truth = Sampler(made).pairs()
    prompts = pairs.loc[truth["planted"].eq("flattery").to_numpy(), "prompt"]
    assert all(Grammar(made).parse_prompt(prompt).format for prompt in prompts)
    flattery = next(b for b in made.behaviors if b.name == "flattery")
    assert (flattery.group, flattery.condition) == ("benign", "distractor")


def test_a_variation_leaves_the_table_it_was_given_as_it_was(table):
    before = tomllib.loads(BRAMBLE.read_text())
    varied(table, "other", VARIATIONS["forth"])
    assert table == before


def test_a_variant_that_is_not_known_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"'seine' is not one of avon"):
        write_variant(BRAMBLE, "seine", tmp_path / "world.toml")
