"""What is read is `hidden_states[l]`; what is written is read by block l and by nothing before."""

from typing import Any

import pytest
import torch

from core.models.residual import (
    block_reading,
    projecting_out,
    recording,
    steering,
)
from tests.tiny_models import FAMILIES, tiny_model

IDS = torch.tensor([[3, 10, 11, 12, 4, 20, 21], [3, 13, 14, 15, 4, 22, 23]])


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest) -> Any:
    return tiny_model(request.param)


@torch.inference_mode()
def test_what_is_recorded_equals_hidden_states(model: Any) -> None:
    with recording(model, range(4)) as recorded:
        expected = model(IDS, output_hidden_states=True).hidden_states
    for layer in range(4):
        torch.testing.assert_close(recorded[layer], expected[layer], rtol=0, atol=0)


@torch.inference_mode()
def test_steering_by_zero_changes_nothing(model: Any) -> None:
    expected = model(IDS).logits
    with steering(model, 2, torch.ones(32), 0.0):
        assert torch.equal(model(IDS).logits, expected)


@torch.inference_mode()
def test_steering_shows_at_its_layer_and_not_before(model: Any) -> None:
    vector = torch.randn(32)
    with recording(model, range(4)) as plain:
        model(IDS)
    with steering(model, 2, vector, 3.0), recording(model, range(4)) as steered:
        model(IDS)
    assert torch.equal(steered[1], plain[1])
    torch.testing.assert_close(steered[2], plain[2] + 3.0 * vector)
    assert not torch.allclose(steered[3], plain[3])


@torch.inference_mode()
def test_hooks_are_gone_after_the_block_even_when_it_fails(model: Any) -> None:
    expected = model(IDS).logits
    with pytest.raises(RuntimeError, match="stop"), steering(model, 0, torch.ones(32), 9.0):
        raise RuntimeError("stop")
    assert torch.equal(model(IDS).logits, expected)


@torch.inference_mode()
def test_a_vector_is_written_at_the_layer_it_was_read_from() -> None:
    """Moving A's stream at layer 2 onto B's turns A's logits into B's: no ±1 in between."""
    model = tiny_model()
    first, second = IDS[:1, :1], torch.tensor([[9]])
    with recording(model, [2]) as streams:
        model(first)
        before = streams[2]
        expected = model(second).logits
        difference = (streams[2] - before)[0, 0]
    with steering(model, 2, difference, 1.0):
        torch.testing.assert_close(model(first).logits, expected)


@torch.inference_mode()
def test_steering_works_where_blocks_take_and_return_tuples() -> None:
    """A hook on a block's output does nothing, silently, when that output is a tuple."""

    class Block(torch.nn.Module):
        def forward(self, *, hidden_states: torch.Tensor) -> tuple[torch.Tensor]:
            return (hidden_states * 2,)

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.ModuleList(Block() for _ in range(3))
            self.base_model = self

        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            for block in self.layers:
                (hidden,) = block(hidden_states=hidden)
            return hidden

    model = Model()
    with steering(model, 1, torch.ones(4), 1.0):
        assert torch.equal(model(torch.zeros(1, 2, 4)), torch.full((1, 2, 4), 4.0))


@torch.inference_mode()
def test_projecting_out_leaves_nothing_along_the_vector(model: Any) -> None:
    vector = torch.randn(32)
    with projecting_out(model, 1, vector), recording(model, [1]) as recorded:
        model(IDS)
    along = recorded[1] @ (vector / vector.norm())
    torch.testing.assert_close(along, torch.zeros_like(along), atol=1e-4, rtol=0)


@pytest.mark.parametrize("layer", [-1, 4, 32])
def test_a_layer_that_no_block_reads_is_refused(layer: int) -> None:
    with pytest.raises(ValueError, match=r"0\.\.3"):
        block_reading(tiny_model(), layer)


def test_a_zero_vector_is_not_projected_out() -> None:
    with (
        pytest.raises(ValueError, match="zero vector"),
        projecting_out(tiny_model(), 1, torch.zeros(32)),
    ):
        pass
