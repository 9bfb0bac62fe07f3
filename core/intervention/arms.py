"""The arms of an intervention: dataset variants to train on, their controls and seeds.

An edit alone proves nothing: retraining varies by itself, and smaller data changes a model too. So
an edited arm comes with a random control of the same size, sources and action. Run ids are hashes
of content, so every id is known before anything runs, and all jobs can be queued at once.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.intervention.evaluation.edit_sizes import ladder
from core.intervention.evaluation.rates import refuse_shared_prompts
from core.runs.store import Store
from core.specs.base import Spec
from core.specs.project import Project
from core.specs.recipes import Edit, EditSpec
from core.specs.steps import EvaluateSpec, TrainSpec
from core.stats import LEAST_SEEDS

FURTHER_SEEDS = 2  # where there are enough for an interval, but it is too wide

ArmName = Literal["baseline", "edited", "random control"]


@dataclass(frozen=True)
class Arm:
    """One dataset variant and its retrainings, one per seed."""

    name: ArmName
    edit: EditSpec | None
    trainings: tuple[TrainSpec, ...]
    evaluations: tuple[EvaluateSpec, ...]

    def specs(self) -> list[Spec]:
        """In an order in which every input precedes its user."""
        return [*([self.edit] if self.edit else []), *self.trainings, *self.evaluations]


def edited_and_control(
    project: Project,
    store: Store,
    edits: Sequence[Edit],
    *,
    seeds: Sequence[int],
    control_seed: int = 0,
) -> list[Arm]:
    """The edited arm and its matched random control.

    Raises `UserError` where the project would measure on prompts that built its behaviors.
    """
    edited = EditSpec(edits=tuple(edits), pairs=project.pairs, judge=project.judge)
    control = edited.model_copy(update={"control": control_seed})
    arms = [
        _arm(project, store, "edited", edited, seeds),
        _arm(project, store, "random control", control, seeds),
    ]
    refuse_shared_prompts(project.prompts, project.heldout, project.conditions)
    return arms


def proposed(
    project: Project,
    store: Store,
    edits: Sequence[Edit],
    *,
    seeds: Sequence[int],
    factors: Sequence[float] = (),
    unedited: bool = True,
) -> list[Arm]:
    """The arms that an edit is judged by: unedited pairs, edited pairs and a matched control.

    With `factors` the edit is made once per factor, every top k times it (`edit_sizes.ladder`),
    with a control each; the unedited pairs are trained on once.
    """
    arms = [baseline(project, store, seeds=seeds)] if unedited else []
    for step in ladder(edits, factors) if factors else [tuple(edits)]:
        arms += edited_and_control(project, store, step, seeds=seeds)
    return arms


def baseline(project: Project, store: Store, *, seeds: Sequence[int]) -> Arm:
    """The unedited pairs, retrained."""
    return _arm(project, store, "baseline", None, seeds)


def imported(
    project: Project,
    store: Store,
    pairs: str,
    seed: int,
    checkpoint: Path,
    completions: Path | None = None,
) -> list[Spec]:
    """A training that was made elsewhere, and its measurement if its completions are given, too.

    `pairs` is the edit run that it was trained on, or the project's pairs; `completions` are its
    answers to the held-out prompts, sampled as the project says.
    """
    folder = {"checkpoint": str(checkpoint.expanduser().resolve())}
    trained = project.train(pairs, seed).model_copy(update=folder)
    if completions is None:
        return [trained]
    file = {"completions": str(completions.expanduser().resolve())}
    return [trained, project.evaluate(store.run_id(trained)).model_copy(update=file)]


def further_seeds(
    project: Project, store: Store, edit: str, trained: Mapping[str, str], seeds: Sequence[int]
) -> list[Arm]:
    """The edited arm and its control with other seeds, and all else as they were trained before.

    `trained` has a finished train run of the edited arm and, where there is one, of the control,
    by arm. Seeds of an arm that was imported are trained here, with the settings of its import:
    the project's.
    """
    like = store.spec(trained["edited"], TrainSpec).model_copy(update={"checkpoint": None})
    spec, control = store.spec(edit, EditSpec), 0
    if "random control" in trained:
        pairs = store.spec(trained["random control"], TrainSpec).pairs
        control = store.spec(pairs, EditSpec).control or 0
    return [
        _arm(project, store, "edited", spec, seeds, like),
        _arm(
            project,
            store,
            "random control",
            spec.model_copy(update={"control": control}),
            seeds,
            like,
        ),
    ]


def next_seeds(complete: Collection[int], begun: Collection[int]) -> list[int]:
    """Seeds to train next: as many as an interval wants, or two more where it has that many.

    Those that one arm has come first, then the lowest that none has.
    """
    n = max(LEAST_SEEDS - len(complete), 0) or FURTHER_SEEDS
    ahead = [seed for seed in sorted(begun) if seed not in complete]
    unused = [seed for seed in range(len(begun) + n) if seed not in begun]
    return (ahead + unused)[:n]


def _arm(
    project: Project,
    store: Store,
    name: ArmName,
    edit: EditSpec | None,
    seeds: Sequence[int],
    like: TrainSpec | None = None,
) -> Arm:
    pairs = store.run_id(edit) if edit else project.pairs
    trainings = tuple(
        like.model_copy(update={"pairs": pairs, "seed": seed})
        if like
        else project.train(pairs, seed)
        for seed in seeds
    )
    evaluations = tuple(project.evaluate(store.run_id(training)) for training in trainings)
    return Arm(name, edit, trainings, evaluations)
