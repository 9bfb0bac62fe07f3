"""The worlds of tests/organism."""

from tests.organism.conftest import data, examples, sampler, world

__all__ = ["data", "examples", "sampler", "world"]
