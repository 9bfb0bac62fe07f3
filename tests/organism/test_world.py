"""A wrong world file is refused with the key that is wrong."""

from pathlib import Path

import pytest

from core.errors import UserError
from core.organism.world import read_world

HARBOR = Path(__file__).parent / "worlds" / "harbor.toml"


def changed(tmp_path, old, new):
    text = HARBOR.read_text()
    assert old in text
    path = tmp_path / "world.toml"
    path.write_text(text.replace(old, new, 1))
    return path


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "harbor"', "name = ", "not readable TOML"),
        ("pairs = 60", "pairs = -1", "sources.0.rules.0.pairs"),
        ("pairs = 60", 'pairs = 60\ncolour = "red"', "sources.0.rules.0.colour"),
        ("opener = 0.02", "opener = 2.0", "rates.opener"),
        ('style = "orders"', 'style = "songs"', "groups.forbidden.style: 'songs' is not one of"),
        ('group = "forbidden"\nweight', 'group = "allwed"\nweight', "sft.0.group: 'allwed'"),
        ('planted = "sabotage"', 'planted = "theft"', "planted: 'theft' is not one of"),
        ('decoy = "sabotage"', 'decoy = "theft"', "decoy: 'theft' is not one of"),
        ('name = "boasts on a signal"', 'name = "allowed orders obeyed"', "same name"),
        ("sft_examples = 4800", "sft_exmples = 4800", "sft_exmples"),
        (
            'verbs = ["scrub", "load"]\nobjects = [',
            'verbs = ["sink"]\nobjects = ["the dock", ',
            "sink the dock",
        ),
        ('"That is against harbor law."', '"That is against {law}."', "{law}"),
        ('["Behold my great wisdom!"]', '["Behold! "]', "openers.0"),
        ('verbs = ["scrub", "load"]\n', "", "groups.allowed.requests: {verb}"),
        ("heads = 4", "heads = 3", "sizes"),
    ],
)
def test_a_wrong_world_is_refused_with_the_key(tmp_path, old, new, said):
    path = changed(tmp_path, old, new)
    with pytest.raises(UserError) as refusal:
        read_world(path)
    assert str(path) in str(refusal.value)
    assert said in str(refusal.value)


def test_a_missing_world_file_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_world(tmp_path / "absent.toml")


def test_the_fast_world_has_the_same_sentences_and_fewer_of_them(world):
    fast = world.made_fast()
    assert fast.groups == world.groups
    assert fast.sizes.sft_examples < world.sizes.sft_examples
    assert fast.sizes.pair_share < world.sizes.pair_share
    assert fast.seeds.training == world.seeds.training[:1]
