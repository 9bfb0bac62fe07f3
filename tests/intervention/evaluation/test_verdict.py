import numpy as np
import pandas as pd
import pytest

from core.intervention.evaluation.rates import rates
from core.intervention.evaluation.verdict import flipped, verdict
from core.runs.store import Store
from core.specs.behaviors import Behavior

TARGET = Behavior(name="compliance", flag="complied", group="harmful")
GUARD = Behavior(name="help", flag="complied", group="benign", wanted=True)
ROLLOUTS = 10


@pytest.fixture
def measure(tmp_path):
    """Rows of `outcomes` for arms: (arm, seed, rate of the target, of the guard) each."""
    store = Store(tmp_path)

    def measured(*arms, n_prompts=20, target=TARGET):
        tables = [pd.DataFrame()]
        for number, (arm, seed, rate, kept) in enumerate(arms):
            run = f"evaluate-{number:016x}"
            output = store.folder(run) / "output"
            output.mkdir(parents=True, exist_ok=True)
            completions = pd.concat(
                [_completions("harmful", rate, n_prompts), _completions("benign", kept, n_prompts)]
            )
            completions.to_parquet(output / "completions.parquet")
            table = rates(completions, [target, GUARD]).assign(arm=arm, seed=seed, evaluate=run)
            tables.append(table)
        return store, pd.concat(tables, ignore_index=True).astype({"seed": "Int64"})

    return measured


def _completions(group, rate, n_prompts):
    """The same number of flagged completions on every second prompt, and one more on the rest."""
    prompts = np.repeat(np.arange(n_prompts), ROLLOUTS)
    rollouts = np.tile(np.arange(ROLLOUTS), n_prompts)
    shown = rollouts < np.clip(round(rate * ROLLOUTS) + (prompts % 2) - (rate > 0.5), 0, ROLLOUTS)
    return pd.DataFrame(
        {
            "prompt_id": [f"{group}-{prompt}" for prompt in prompts],
            "prompt": [f"do {group} {prompt}" for prompt in prompts],
            "completion": np.where(shown, "Sure.", "No."),
            "group": group,
            "condition": "plain",
            "model": "evaluated",
            "complied": pd.array(shown, dtype="boolean"),
        }
    )


def arms(edited, controls, *, before=0.6, kept=0.9):
    """Reference, policy, and both arms with a seed per rate."""
    both = [("edited", edited), ("random control", controls)]
    trained = [(arm, seed, rate, kept) for arm, all_ in both for seed, rate in enumerate(all_)]
    return [("reference", pd.NA, 0.0, 0.9), ("policy", pd.NA, before, 0.9), *trained]


@pytest.mark.parametrize(
    ("edited", "controls", "state", "why"),
    [
        ([0.0, 0.1, 0.0], [0.5, 0.6, 0.5], "worked", ""),
        ([0.0], [0.5], "not yet proven", "shows from 3 seeds on"),
        ([0.0, 0.1], [0.5, 0.6], "not yet proven", "shows from 3 seeds on"),
        ([0.0, 0.1, 0.0], [], "not yet proven", "control is not measured"),
        ([0.5, 0.6, 0.5], [0.5, 0.6, 0.5], "did not work", "is ruled out"),
        ([0.8, 0.9, 0.8], [0.5, 0.6, 0.5], "did not work", "is ruled out"),
        ([0.0, 0.6, 0.2], [0.6, 0.5, 0.4], "not yet proven", "may be chance"),
        ([0.6, 0.6, 0.6], [0.9, 0.9, 1.0], "not yet proven", "not the policy's own interval"),
    ],
)
def test_the_verdict_asks_for_seeds_a_control_and_a_benefit(measure, edited, controls, state, why):
    store, measured = measure(*arms(edited, controls))
    outcome = verdict(store, measured, TARGET, [TARGET, GUARD])
    assert outcome.state == state
    assert why in outcome.reason


def test_a_wanted_behavior_works_by_rising(measure):
    target = TARGET.model_copy(update={"wanted": True})
    worked = arms([0.8, 0.9, 0.8], [0.3, 0.2, 0.3], before=0.2)
    store, measured = measure(*worked, target=target)
    outcome = verdict(store, measured, target, [target])
    assert outcome.state == "worked"
    assert outcome.over_seeds.value > 0.4


def test_few_prompts_prove_nothing_however_many_seeds(measure):
    store, measured = measure(*arms([0.0] * 3, [0.6] * 3), n_prompts=5)
    assert verdict(store, measured, TARGET, [TARGET]).state == "not yet proven"


def test_the_interval_over_prompts_covers_a_benefit_that_depends_on_them(measure):
    store, measured = measure(*arms([0.0] * 3, [2.0] * 3))
    outcome = verdict(store, measured, TARGET, [TARGET])
    assert outcome.over_prompts.value == pytest.approx(outcome.over_seeds.value)
    assert outcome.over_prompts.low < outcome.over_prompts.value < outcome.over_prompts.high


def test_what_got_worse_is_named_with_both_rates(measure):
    store, measured = measure(*arms([0.0] * 3, [0.5] * 3, kept=0.6))
    outcome = verdict(store, measured, TARGET, [TARGET, GUARD])
    assert [worse.behavior for worse in outcome.worse] == ["help"]
    assert "What got worse: help 85.0% → 55.0%." in outcome.headline()


def test_the_headline_has_the_verdict_the_seeds_and_the_control(measure):
    store, measured = measure(*arms([0.0], [0.4]))
    outcome = verdict(store, measured, TARGET, [TARGET, GUARD])
    assert outcome.headline().startswith("Not yet proven (1 training seed): compliance 55.0% → ")
    assert "after a random edit of the same size 45.0%. Nothing else" in outcome.headline()
    assert "over 1 training seed none (too few)" in outcome.evidence()


def test_nothing_is_decided_before_the_edit_is_measured(measure):
    store, measured = measure(("policy", pd.NA, 0.6, 0.9), ("random control", 0, 0.5, 0.9))
    assert verdict(store, measured, TARGET, [TARGET]) is None
    assert flipped(store, measured, TARGET) is None


def test_a_changed_completion_shows_the_flag_before_and_not_after(measure):
    store, measured = measure(*arms([0.0], [0.5]))
    example = flipped(store, measured, TARGET)
    assert (example["before"], example["after"]) == ("Sure.", "No.")
    assert example["prompt"].startswith("do harmful")
