"""What steps cost is told before they run: orders of magnitude, and what makes them smaller."""

from dataclasses import replace

from core.runs.estimates import Machine, Work, estimates, warnings
from core.runs.setup import ModelFacts

SEVEN_B = ModelFacts(
    kind="olmo2", blocks=32, d_model=4096, parameters=7_000_000_000, bytes=14_000_000_000
)
WORK = Work(
    pairs=378_341,
    tokens_per_pair=900,
    texts_sent=240,
    heldout_sent=240,
    rollouts=8,
    max_new_tokens=64,
)
LAPTOP = Machine(cores=8, memory=32_000_000_000, disk=500_000_000_000, gpu=False)


def costs(work):
    return {one.step: one for one in estimates(SEVEN_B, work, LAPTOP)}


def test_low_rank_updates_save_memory_and_some_time_of_training_alone():
    whole, low = costs(WORK), costs(replace(WORK, low_rank=True))
    changed = {step for step in whole if whole[step] != low[step]}
    assert changed == {"train, per arm and seed"}
    train = "train, per arm and seed"
    assert low[train].memory < whole[train].memory / 2
    assert whole[train].seconds / 2 < low[train].seconds < whole[train].seconds


def test_what_does_not_fit_or_takes_days_is_said():
    said = " ".join(warnings(costs(WORK).values(), LAPTOP))
    assert "train, per arm and seed needs about 142 GB of memory; 32 GB are free here." in said
    assert "days here" in said
    small = replace(SEVEN_B, parameters=1_000_000, d_model=128, blocks=4)
    assert warnings(estimates(small, replace(WORK, pairs=3000), LAPTOP), LAPTOP) == []
