import shlex

import click
import pytest
from click.testing import CliRunner

from core.errors import UserError
from core.runs import commands
from core.specs.behaviors import Behavior
from core.specs.steps import STEPS, EvaluateSpec, IndexSpec, RankSpec, TrainSpec

BEHAVIOR = Behavior(name="it's “odd”", flag="complied", group="harmful", condition="distractor")


def parsed(spec_type, words):
    """The options that a shell would hand over."""
    seen = {}
    command = click.Command("x", params=commands.options(spec_type), callback=seen.update)
    result = CliRunner().invoke(command, words, standalone_mode=False)
    assert result.exception is None, result.exception
    return seen


@pytest.mark.parametrize(
    "spec",
    [
        IndexSpec(model="train-0123456789abcdef", pairs="edit-0123456789abcdef", layers=(1, 3)),
        TrainSpec(reference="/m", pairs="/p.jsonl", seed=4, learning_rate=1e-4, preset="olmo2"),
        RankSpec(
            generate="generate-0123456789abcdef",
            index="index-0123456789abcdef",
            behavior=BEHAVIOR,
            method="bank",
        ),
        EvaluateSpec(
            model="/m", prompts="/p", judge="refusal", behaviors=[BEHAVIOR], temperature=0
        ),
    ],
)
def test_the_command_of_a_spec_builds_the_same_spec(store, spec):
    words = shlex.split(commands.command(spec, store))
    given = parsed(type(spec), words[words.index(spec.step) + 1 :])
    assert commands.build(type(spec), given, {}) == spec


def test_an_unset_option_comes_from_the_project(store):
    spec = commands.build(IndexSpec, {"pairs": None, "model": None}, {"model": "/m", "pairs": "/p"})
    assert (spec.model, spec.pairs) == ("/m", "/p")


def test_a_wrong_value_names_its_option():
    with pytest.raises(UserError, match=r"--max-length: .*greater than 0"):
        commands.build(IndexSpec, {"model": "/m", "pairs": "/p", "max_length": 0}, {})


def test_broken_json_is_refused():
    with pytest.raises(UserError, match="starts like JSON"):
        commands.build(IndexSpec, {"model": "/m", "pairs": "/p", "layers": "[1,"}, {})


@pytest.mark.parametrize("spec_type", STEPS.values(), ids=STEPS)
def test_every_knob_explains_itself(spec_type):
    for name, field in spec_type.model_fields.items():
        assert field.description, f"{spec_type.step}: {name} has no description"
