import pytest
from pydantic import ValidationError

from core.data.conditions import CONDITIONS, Condition
from core.specs.base import identity, references
from core.specs.behaviors import Behavior
from core.specs.steps import DiscoverSpec, EvaluateSpec, IndexSpec, RankSpec, TrainSpec


def test_a_spec_refuses_a_knob_it_does_not_have():
    with pytest.raises(ValidationError, match="layerz"):
        IndexSpec(model="m", pairs="p", layerz=(1,))


def test_references_are_found_by_kind():
    kinds = {name: ref.kind for name, ref in references(TrainSpec).items()}
    assert kinds == {
        "reference": "model", "pairs": "pairs", "checkpoint": "model", "explain_away": "run",
    }  # fmt: skip


def test_identity_depends_on_content_and_settings_but_not_on_where_files_lie():
    here = TrainSpec(reference="/a/reference", pairs="/a/pairs.jsonl")
    there = TrainSpec(reference="/b/reference", pairs="/b/pairs.jsonl")
    contents = {"reference": "r", "pairs": "p"}
    assert identity(here, contents) == identity(there, contents)
    assert identity(here, contents) != identity(here, contents | {"pairs": "q"})
    assert identity(here, contents) != identity(here.model_copy(update={"seed": 1}), contents)


def test_an_arithmetic_that_is_named_changes_what_a_run_is_called():
    specs = [
        EvaluateSpec(model="m", prompts="p", judge="refusal", behaviors=(), dtype=dtype)
        for dtype in ("auto", "float32", "bfloat16")
    ]
    contents = {"model": "m", "prompts": "p", "judge": "j", "vector": ""}
    names = [identity(spec, contents) for spec in specs]
    assert len(set(names)) == 3


def test_conditions_and_comparisons_name_a_run_only_where_they_are_not_the_default():
    contents = {"model": "m", "prompts": "p", "judge": "j", "vector": ""}
    asked = {"model": "m", "prompts": "p", "judge": "refusal"}
    brief = Condition(name="brief", system="Be brief.")
    behavior = Behavior(name="b", flag="f", group="g", condition="brief")
    specs = [
        EvaluateSpec(**asked, behaviors=[b], conditions=conditions)
        for b, conditions in (
            (behavior, CONDITIONS),
            (behavior, ()),
            (behavior, (*CONDITIONS, brief)),
            (behavior.model_copy(update={"against": "distractor"}), CONDITIONS),
        )
    ]
    assert len({identity(spec, contents) for spec in specs}) == 4
    as_before = EvaluateSpec(**asked, behaviors=[behavior])
    assert identity(as_before, contents) == identity(specs[0], contents)
    assert "against" not in RankSpec(generate="g", index="i", behavior=behavior).model_dump_json()


def test_a_behavior_that_is_compared_with_itself_is_refused():
    with pytest.raises(ValidationError, match="against is 'brief', its condition"):
        Behavior(name="b", flag="f", group="g", condition="brief", against="brief")


def test_a_preset_fills_only_the_settings_that_are_not_named():
    spec = TrainSpec(reference="r", pairs="p", preset="olmo2", beta=2.0)
    assert (spec.loss_type, spec.beta, spec.learning_rate) == ("sigmoid_norm", 2.0, 1e-6)


def test_a_training_that_changes_nothing_of_the_loss_keeps_the_id_that_it_had():
    contents = {"reference": "r", "pairs": "p"}
    plain = TrainSpec(reference="r", pairs="p")
    assert identity(plain, contents) == "f5b082d6cca3bc86"  # of the version before
    changes = [{"explain_away": "rank-0123456789abcdef"}, {"inoculation": "Be harmful."}]
    assert identity(plain, contents) not in [
        identity(plain.model_copy(update=c), contents) for c in changes
    ]


def test_an_optional_input_is_a_reference_too():
    assert references(EvaluateSpec)["vector"].kind == "run"


def test_steering_without_a_vector_is_refused():
    with pytest.raises(ValidationError, match="steering needs a vector"):
        EvaluateSpec(model="m", prompts="p", judge="refusal", behaviors=(), steering="add")


def test_a_cut_of_a_map_is_brief_and_needs_no_device_and_a_map_is_long_and_does():
    new = DiscoverSpec(generate="g", index="i")
    cut = DiscoverSpec(generate="g", index="i", recut="d", level=1.0)
    assert [(spec.is_brief(), spec.needs_device()) for spec in (new, cut)] == [
        (False, True),
        (True, False),
    ]
