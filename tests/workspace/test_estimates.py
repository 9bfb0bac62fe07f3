"""Steps are priced before they run, within orders of magnitude, and timed by finished runs."""

import shutil
from dataclasses import replace

import pytest

from core import environment
from core.data import quality
from core.demo.investigation import ORGANISM
from core.errors import UserError
from core.models.memory import Shape
from core.runs.store import Store
from core.specs import project as projects
from core.workspace.checks import ModelFacts, model_facts
from core.workspace.estimates import (
    CHARACTERS_PER_TOKEN,
    CORE_FLOPS,
    SERVERS,
    Machine,
    Work,
    core_flops,
    estimated_seconds,
    estimates,
    this_machine,
    warnings,
)
from core.workspace.measurable import texts_sent

SHAPE = Shape(
    blocks=32, d_model=4096, mlp=11008, heads=4096, keys=4096, vocabulary=100_352, tied=False,
    parameters=7_000_000_000, stored=2,
)  # fmt: skip
SEVEN_B = ModelFacts(kind="olmo2", shape=SHAPE)
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
    assert "train, per arm and seed needs about 153 GB of memory; 32 GB are free here." in said
    assert "days here" in said
    small = replace(SEVEN_B, shape=replace(SHAPE, parameters=1_000_000, d_model=128, blocks=4))
    assert warnings(estimates(small, replace(WORK, pairs=3000), LAPTOP), LAPTOP) == []


MEASURED = {  # CPU-seconds of the shipped organism on one thread: docs/experiments/costs.md
    "generate": 9.7,
    "index": 3.7,
    "rank": 0.6,
    "discover": 23.5,
    "edit, per arm": 0.08,
    "train, per arm and seed": 35.6,
    "evaluate, per model": 6.7,
}


def test_the_organisms_steps_are_priced_within_a_factor_of_two():
    size = quality.size(ORGANISM / "pairs.parquet")
    work = Work(
        pairs=size.rows,
        tokens_per_pair=size.characters_per_pair / CHARACTERS_PER_TOKEN,
        texts_sent=texts_sent(ORGANISM / "prompts.jsonl"),
        heldout_sent=texts_sent(ORGANISM / "heldout.jsonl"),
        rollouts=8,
        max_new_tokens=64,
        answer_tokens=size.characters_per_answer / CHARACTERS_PER_TOKEN,
    )
    steps = estimates(model_facts(ORGANISM / "reference"), work, replace(LAPTOP, cores=1))
    seconds = {each.step: each.seconds for each in steps}
    ratios = {step: seconds[step] / MEASURED[step] for step in MEASURED}
    assert not {step: ratio for step, ratio in ratios.items() if not 1 / 2 < ratio < 2}


def test_the_papers_completions_are_priced_for_both_samplers():
    """7,876 prompts under 4 conditions, 100 completions each, of a 7B model on an H100."""
    work = replace(WORK, texts_sent=7876 * 4, rollouts=100, max_new_tokens=512, answer_tokens=350)
    gpu = replace(LAPTOP, gpu=True)
    steps = {one.step: one for one in estimates(SEVEN_B, work, gpu)}
    days = {step: steps[step].seconds / 86_400 for step in ("generate", SERVERS)}
    assert 10 < days["generate"] < 20
    assert 0.5 < days[SERVERS] < 2
    few = warnings([replace(steps[SERVERS], seconds=10 * 86_400)], gpu)
    assert few == [
        "generate from servers takes about 10 days with a GPU per model. Start servers on more "
        "(docs/cluster.md)."
    ]


def costs_on(machine):
    return {one.step: one for one in estimates(SEVEN_B, WORK, machine)}


def test_vectors_that_go_elsewhere_take_the_disk_there_and_one_layer_here():
    here = costs_on(LAPTOP)
    there = costs_on(replace(LAPTOP, shards="s3://bucket", shards_disk=None))
    layer = 6 * 4096 * 378_341
    assert (here["index"].shards, there["index"].shards) == (0, 32 * layer)
    assert here["index"].disk - there["index"].disk == 32 * layer
    assert there["index"].disk == (4 + 4) * 900 * 378_341  # token ids, and the copy of the texts
    assert (here["rank"].disk, there["rank"].disk) == (0, layer)


@pytest.mark.parametrize(
    ("shards", "free", "said"),
    [
        ("", None, "index writes about 300 GB; 280 GB are free. Keep fewer layers"),
        ("s3://bucket", None, ""),
        ("file:///other", 100_000_000_000, "298 GB to file:///other; 100 GB are free there. Keep"),
        ("file:///other", 900_000_000_000, ""),
    ],
)
def test_a_full_disk_is_that_on_which_vectors_are_kept(shards, free, said):
    machine = Machine(8, 200_000_000_000, 280_000_000_000, True, shards, free)
    found = [one for one in warnings(estimates(SEVEN_B, WORK, machine), machine) if "GB" in one]
    assert [said in one for one in found] == ([True] if said else [])


def test_a_training_writes_tokens_and_checkpoints_that_stay_until_it_ends():
    tokens, weights = 4 * 900 * 378_341, 7_000_000_000
    train = "train, per arm and seed"
    whole, low = costs(WORK)[train], costs(replace(WORK, low_rank=True))[train]
    assert (whole.disk, low.disk) == (4 * weights, 4 * weights)
    assert whole.disk + whole.temporary == tokens + 3 * 12 * weights
    assert tokens < low.temporary < tokens + 0.05 * low.disk
    assert costs(replace(WORK, pairs=0))[train].temporary == whole.temporary - tokens


@pytest.mark.parametrize(("free", "fits"), [(252_000_000_000, False), (254_000_000_000, True)])
def test_a_disk_without_room_for_a_trainings_tokens_is_told(free, fits):
    machine = replace(LAPTOP, disk=free)
    said = [one for one in warnings(costs_on(machine).values(), machine) if "GB are free." in one]
    about = "train, per arm and seed writes about 253 GB, 225 of them until it ends; 252 GB are"
    assert [one.startswith(about) for one in said if one.startswith("train")] == [True] * (not fits)


def test_the_disk_of_a_folder_of_this_machine_is_asked_and_no_store_is(tmp_path, monkeypatch):
    monkeypatch.setenv(environment.SHARDS, f"file://{tmp_path / 'shards to be'}")
    free = this_machine(tmp_path).shards_disk
    assert free == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.1)
    monkeypatch.setenv(environment.SHARDS, "s3://bucket/folder")
    machine = this_machine(tmp_path)
    assert (machine.shards, machine.shards_disk) == ("s3://bucket/folder", None)
    monkeypatch.delenv(environment.SHARDS)
    assert this_machine(tmp_path).shards == ""


def test_a_gpu_that_models_are_kept_off_makes_nothing_faster(tmp_path, monkeypatch):
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(environment, "FILES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for device, gpu in (("auto", True), ("cuda:0", True), ("cpu", False)):
        monkeypatch.setenv(environment.DEVICE, device)
        assert this_machine(tmp_path).gpu is gpu
    monkeypatch.setenv(environment.DEVICE, "gpu")
    with pytest.raises(UserError, match="PAIRTRACE_DEVICE is 'gpu'"):
        this_machine(tmp_path)


def test_an_index_takes_the_time_of_the_cores_that_its_workers_compute_on(tmp_path, monkeypatch):
    monkeypatch.setattr("psutil.cpu_count", lambda **_: 4)
    monkeypatch.setenv(environment.DEVICE, "cpu")
    seconds = {}
    for name in ("inline", "process:2", "process:9", "ray:9"):
        monkeypatch.setenv(environment.EXECUTOR, name)
        seconds[name] = {
            step: one.seconds for step, one in costs_on(this_machine(tmp_path)).items()
        }
    alone = seconds["inline"]["index"]
    per_token = 2 * 7e9 + 4 * 4096 * 450 * 32  # half a pair is attended to, in 32 blocks
    assert alone == pytest.approx(per_token * 900 * 378_341 / core_flops())
    faster = {name: alone / found["index"] for name, found in seconds.items()}
    assert faster == pytest.approx({"inline": 1, "process:2": 2, "process:9": 4, "ray:9": 9})
    assert len({found["train, per arm and seed"] for found in seconds.values()}) == 1


LONG = 141.0  # CPU-seconds of 3,783 pairs of 944 tokens: docs/experiments/costs.md


def test_an_index_of_long_pairs_is_priced_within_a_factor_of_two():
    work = replace(WORK, pairs=3783, tokens_per_pair=1009)  # four characters to a token
    steps = estimates(model_facts(ORGANISM / "reference"), work, LAPTOP)
    (seconds,) = [each.seconds for each in steps if each.step == "index"]
    assert 1 / 2 < seconds / LONG < 2


def test_the_rate_of_a_core_is_measured_and_a_gpu_does_not_ask_for_it(tmp_path, monkeypatch):
    monkeypatch.setenv(environment.DEVICE, "cpu")
    assert this_machine(tmp_path).core_flops == core_flops()
    assert 1e9 < core_flops() < 1e12
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(environment, "FILES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv(environment.DEVICE, "cuda")
    assert this_machine(tmp_path).core_flops == CORE_FLOPS


def test_every_step_of_a_project_has_an_estimate_before_anything_ran(tmp_path):
    seconds = estimated_seconds(Store(tmp_path), projects.load(ORGANISM))
    steps = {"generate", "index", "rank", "discover", "edit", "train", "evaluate"}
    assert set(seconds) == steps
    assert 2 < seconds["train"] < 200
