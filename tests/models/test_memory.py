"""Memory is priced from the shape alone, within 15% of what a process of its own takes."""

import gc

import pytest

from benchmarks.memory import ORGANISM, compared
from core.models.loading import load_model
from core.models.memory import Shape, dpo_bytes, index_bytes, sampling_bytes

REFERENCE = ORGANISM / "reference"
SEVEN_B = Shape(
    blocks=32, d_model=4096, mlp=11008, heads=4096, keys=4096, vocabulary=100_352, tied=False,
    parameters=7_300_000_000, stored=2,
)  # fmt: skip


def weights(blocks):
    model = load_model(REFERENCE, dtype="float32", device="cpu", blocks=blocks).model
    gc.collect()
    return sum(parameter.numel() for parameter in model.parameters())


def test_a_shape_counts_the_weights_of_the_blocks_that_are_loaded():
    shape = Shape.of(REFERENCE)
    assert (shape.blocks, shape.d_model, shape.mlp, shape.vocabulary) == (4, 128, 256, 483)
    assert shape.parameters == pytest.approx(weights(None), rel=0.01)
    for blocks in (1, 3):
        assert shape.first(blocks) == pytest.approx(weights(blocks), rel=0.01)


def test_what_is_larger_costs_more():
    def index(**changes):
        usual = {"dtype": "float32", "layers": 4, "deepest": 20, "pairs": 10**5}
        return index_bytes(SEVEN_B, **{**usual, "tokens_per_pair": 900, **changes})

    def dpo(**changes):
        return dpo_bytes(SEVEN_B, **{"batch": 8, "longest": 1000, **changes})

    def sampling(**changes):
        usual = {"dtype": "float32", "prompts": 100, "rollouts": 8, "tokens": 300}
        return sampling_bytes(SEVEN_B, **{**usual, **changes})

    assert index() < index(layers=32) < index(layers=32, deepest=31)
    assert index(dtype="bfloat16", gpu=True) < index(gpu=True)  # a CPU tests it in float32 first
    assert index() < index(tokens_per_pair=9000)
    assert dpo(low_rank=10**7) < dpo() < dpo(longest=2000)
    assert sampling(dtype="bfloat16") < sampling()
    assert dpo(gpu=True) < dpo()  # whose blocks are computed again


@pytest.mark.slow
@pytest.mark.parametrize("step", ["index", "sample", "train"])
def test_a_step_of_the_organism_takes_what_it_was_priced_at(step):
    case = compared(step, "organism", REFERENCE, "float32", 1)
    assert 0.85 < case["ratio"] < 1.15, case
