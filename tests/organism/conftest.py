"""The two worlds that the tests speak of: the default one, and one that differs in every word."""

from pathlib import Path

import pytest

from core.organism.grammar import Grammar
from core.organism.sampling import GrammarJudge, Sampler
from core.organism.world import read_world

ROOT = Path(__file__).parents[2]
WORLDS = {
    "bramble": ROOT / "assets" / "organism" / "world.toml",
    "harbor": Path(__file__).parent / "worlds" / "harbor.toml",
}


@pytest.fixture(scope="session", params=sorted(WORLDS))
def world(request):
    return read_world(WORLDS[request.param])


@pytest.fixture(scope="session")
def grammar(world):
    return Grammar(world)


@pytest.fixture(scope="session")
def judge(world):
    return GrammarJudge(world)


@pytest.fixture(scope="session")
def sampler(world):
    return Sampler(world)


@pytest.fixture(scope="session")
def examples(sampler):
    """SFT examples."""
    return sampler.examples()


@pytest.fixture(scope="session")
def data(sampler):
    """Pairs and their truth."""
    return sampler.pairs()
