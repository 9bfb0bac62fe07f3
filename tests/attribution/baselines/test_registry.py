"""Every method of the registry ranks the organism's pairs, and the honest ones find the cause."""

import numpy as np
import pandas as pd
import pytest

from core.attribution.baselines.gradient import cpu_seconds
from core.attribution.baselines.registry import (
    METHODS,
    Material,
    behavior_contrasts,
    pair_contrasts,
)
from core.attribution.completions import completion_activations
from core.attribution.evaluation.metrics import average_precision
from core.attribution.index.layout import VectorIndex
from core.attribution.vectors import behavior_vectors, passing_prompts
from core.data.conditions import expand
from core.data.pairs import read_pairs
from core.data.prompts import read_prompts
from core.demo.investigation import ORGANISM
from core.intervention.evaluation.judges import load_judge
from core.intervention.evaluation.rates import judged
from core.models.generation import sample
from core.models.loading import load_model
from core.organism.sampling import planted_uids, read_truth
from core.runs.execute import execute
from core.runs.progress import Progress
from core.runs.store import Store
from core.specs import project
from core.specs.steps import IndexSpec

pytestmark = pytest.mark.slow

LAYER = 2
PAIRS = 48


@pytest.fixture(scope="module")
def known():
    return project.load(ORGANISM)


@pytest.fixture(scope="module")
def planted_and_material(known, tmp_path_factory):
    """Flattery on a few pairs, half of them planted."""
    folder = tmp_path_factory.mktemp("methods")
    behavior = known.behavior("flattery")
    pairs = read_pairs(known.pairs).pairs
    planted = pairs["uid"].isin(planted_uids(read_truth(ORGANISM / "truth.parquet"), "flattery"))
    some = pd.concat([pairs[planted].head(PAIRS // 4), pairs[~planted].head(3 * PAIRS // 4)])
    some.to_parquet(folder / "pairs.parquet")
    store = Store(folder / "workspace")
    spec = IndexSpec(model=known.reference, pairs=str(folder / "pairs.parquet"), layers=(1, LAYER))
    index = VectorIndex.open(store.output(execute(spec, store)))
    reference, policy = (load_model(getattr(known, name)) for name in ("reference", "policy"))
    prompts = expand(read_prompts(known.prompts))
    prompts = prompts[prompts["group"].eq(behavior.group) & prompts["condition"].eq("plain")]
    prompts = prompts.head(6).reset_index(drop=True)
    tables = []
    for name, loaded in (("reference", reference), ("policy", policy)):
        drawn = sample(
            loaded,
            prompts["prompt"].tolist(),
            rollouts=2,
            temperature=0.7,
            max_new_tokens=48,
            seed=0,
            progress=Progress(),
        )
        repeated = prompts.loc[prompts.index.repeat(2)].reset_index(drop=True)
        tables.append(repeated.join(drawn.drop(columns="prompt")).assign(model=name))
    table = judged(pd.concat(tables, ignore_index=True), load_judge(known.judge))
    passing = passing_prompts(table, behavior).prompt_ids
    activations = completion_activations(
        reference, table[table["prompt_id"].isin(passing)], index.layers
    )
    ordered = some.set_index("uid").loc[index.uids.tolist()].reset_index()
    material = Material(
        behavior,
        ordered,
        index,
        behavior_vectors(activations, behavior, passing),
        LAYER,
        activations,
        reference.tokenizer,
        [("reference", reference.model), ("policy", policy.model)],
        folder / "gradients",
    )
    truth = planted_uids(read_truth(ORGANISM / "truth.parquet"), "flattery")
    return ordered["uid"].isin(truth).to_numpy(bool), material


@pytest.mark.parametrize("name", METHODS)
def test_a_method_scores_every_pair(planted_and_material, name):
    planted, material = planted_and_material
    scores = METHODS[name].rank(material)
    assert scores.shape == planted.shape
    assert not np.isnan(scores).all()
    if METHODS[name].reads != "nothing" and name not in ("norm", "length"):
        assert average_precision(scores, planted) > 0.5  # a quarter is planted


def test_gradients_say_what_they_cost_and_are_not_paid_twice(planted_and_material):
    _, material = planted_and_material
    METHODS["gradient"].rank(material)
    (folder,) = METHODS["gradient"].folders(material)
    cost = cpu_seconds(folder)
    METHODS["gradient"].rank(material)
    assert cpu_seconds(folder) == cost > 0
    both = METHODS["gradient, two checkpoints"].folders(material)
    assert len(both) == 2
    assert both[0] == folder


def test_contrasts_are_chosen_against_rejected_and_behavior_against_reference(planted_and_material):
    _, material = planted_and_material
    pair, row = pair_contrasts(material)[0], material.pairs.iloc[0]
    decode = material.tokenizer.decode
    assert decode(pair.upper, skip_special_tokens=True).split() == row["chosen"].split()
    assert len(behavior_contrasts(material)) == len(material.vectors.prompts)
