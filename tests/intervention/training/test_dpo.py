"""DPO: the loss starts at ln 2, flips included, and an interrupted training ends the same."""

import json
import math
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from subprocess import DEVNULL

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from accelerate.state import AcceleratorState
from datasets import Dataset
from safetensors.torch import load_file

from core.data.tokens import encode_completion, encode_prompt
from core.errors import UserError
from core.intervention.training.dpo import train
from core.intervention.training.tokens import (
    LogProbCache,
    inoculated,
    lengths,
    log_prob_key,
    tokenize,
    with_terms,
    write_tokens,
)
from core.intervention.training.trainer import ArmConfig
from core.models.loading import load_model
from core.runs.hashing import fingerprint_model
from core.runs.progress import Cancelled
from core.specs.steps import TrainSpec
from tests.tiny_models import save_tiny_model

SETTINGS = {"learning_rate": 1e-3, "batch_size": 4, "epochs": 1.0}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("reference") / "model", blocks=2)


@pytest.fixture(scope="module")
def pairs():
    """Forty pairs; the chosen completion starts with w1, the rejected one with w2."""
    draw = random.Random(0)

    def words(least, most):
        return " ".join(f"w{draw.randrange(3, 50)}" for _ in range(draw.randint(least, most)))

    return pd.DataFrame(
        {
            "uid": f"pair-{row}",
            "prompt": words(2, 6),
            "chosen": "w1 " + words(1, 6),
            "rejected": "w2 " + words(1, 6),
            "source": "made",
        }
        for row in range(40)
    )


@pytest.fixture
def retrain(reference, pairs, tmp_path):
    """Trains in `tmp_path/<name>` with a cache that its calls share."""

    def run(name, *, on=pairs, progress=lambda *_: None, **settings):
        spec = TrainSpec(reference=str(reference), pairs="pairs", **(SETTINGS | settings))
        output = tmp_path / name
        output.mkdir(exist_ok=True)
        return train(reference, [on], spec, output, tmp_path / "cache", progress)

    return run


def apart(folder: Path, one: str, other: str) -> float:
    """Mean absolute difference of two trained models' weights."""
    both = [load_file(folder / name / "model" / "model.safetensors") for name in (one, other)]
    return float(torch.cat([(both[0][k] - both[1][k]).abs().flatten() for k in both[0]]).mean())


def flipped(pairs: pd.DataFrame) -> pd.DataFrame:
    return pairs.rename(columns={"chosen": "rejected", "rejected": "chosen"})


def weighted(pairs, weights):
    """The pairs with these weights, as the train step reads them."""
    return next(with_terms([pairs], pd.Series(weights, index=pairs["uid"], dtype=float), None))


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


def at_step(step, error):
    def progress(done, _total, note):
        if note.startswith("loss") and done == step:
            raise error

    return progress


def test_training_moves_the_model_towards_the_chosen_completions(retrain, tmp_path):
    retrain("arm")
    rows = [json.loads(line) for line in (tmp_path / "arm/log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 11))
    assert rows[-1]["margin"] > rows[0]["margin"] == pytest.approx(0, abs=1e-3)


def test_cached_log_probs_equal_a_fresh_pass_over_one_completion_at_a_time(
    retrain, reference, pairs, tmp_path
):
    retrain("arm")
    cache = LogProbCache(
        tmp_path / "cache", model=fingerprint_model(reference), arithmetic="float32"
    )
    known, loaded = cache.read(), load_model(reference, dtype="float32")
    for row in tokenize(loaded.tokenizer, pairs).head(8).to_dict("records"):
        ids, start = [*row["prompt_ids"], *row["chosen_ids"]], len(row["prompt_ids"])
        with torch.inference_mode():
            logits = loaded.model(torch.tensor([ids])).logits[0].log_softmax(-1)
        fresh = sum(float(logits[at - 1, ids[at]]) for at in range(start, len(ids)))
        assert known[log_prob_key(row["prompt_ids"], row["chosen_ids"])] == pytest.approx(
            fresh, abs=1e-3
        )


def test_a_second_arm_computes_no_reference_log_prob_again(retrain, pairs):
    retrain("first")
    notes = []
    retrain("second", on=pairs.head(20), progress=lambda _d, _t, note: notes.append(note))
    assert not any("under the reference" in note for note in notes)


def test_a_cancelled_pass_of_the_reference_keeps_the_blocks_that_are_done(retrain, monkeypatch):
    monkeypatch.setattr("core.intervention.training.trainer.BLOCK", 12)
    counts = []

    def stopping_at(stop):
        def progress(done, total, note):
            if "under the reference" in note:
                counts.append((done, total))
                if done == stop:
                    raise Cancelled

        return progress

    with pytest.raises(Cancelled):
        retrain("stopped", progress=stopping_at(7))
    assert counts[-1] == (7, 10)  # 40 pairs in batches of 4
    retrain("stopped", progress=stopping_at(None))
    assert counts[-1] == (3, 4)  # two blocks of 12 were kept


def test_flipped_pairs_start_at_ln_2_from_the_same_cache(retrain, pairs):
    retrain("baseline")
    assert retrain("flipped", on=flipped(pairs))["loss_at_step_0"] == pytest.approx(
        math.log(2), abs=1e-3
    )


def test_log_probs_of_other_weights_are_refused_at_the_first_step(
    retrain, reference, pairs, tmp_path
):
    tokenizer = load_model(reference).tokenizer
    cache = LogProbCache(
        tmp_path / "cache", model=fingerprint_model(reference), arithmetic="float32"
    )
    retrain("honest")
    tokens, known = tokenize(tokenizer, pairs).to_dict("records"), cache.read()
    swapped = {}
    for row in tokens:
        chosen = log_prob_key(row["prompt_ids"], row["chosen_ids"])
        rejected = log_prob_key(row["prompt_ids"], row["rejected_ids"])
        swapped |= {chosen: known[rejected], rejected: known[chosen]}
    cache.add(swapped)
    with pytest.raises(UserError, match="not ln 2"):
        retrain("arm", beta=1.0)


def test_a_crash_resumes_from_the_last_complete_checkpoint_and_ends_the_same(retrain, tmp_path):
    retrain("straight")
    with pytest.raises(RuntimeError, match="crash"):
        retrain("crashed", progress=at_step(6, RuntimeError("crash")))
    half = tmp_path / "crashed/checkpoints/checkpoint-9"
    half.mkdir()
    steps = []
    retrain("crashed", progress=lambda done, _t, note: steps.append((done, note)))
    assert min(done for done, note in steps if note == "training") == 6
    assert apart(tmp_path, "crashed", "straight") < 1e-5
    rows = (tmp_path / "crashed/log.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == list(range(1, 11))


KILLED = """
import sys
import pandas as pd
from pathlib import Path
from subprocess import DEVNULL
from core.intervention.training.dpo import train
from core.specs.steps import TrainSpec

folder, reference = Path(sys.argv[1]), Path(sys.argv[2])
spec = TrainSpec.model_validate_json(sys.argv[3])
train(reference, [pd.read_json(folder / "pairs.json")], spec, folder, folder / "cache", print)
"""


@pytest.mark.slow
def test_a_sigkill_in_the_middle_resumes_and_ends_the_same(retrain, reference, pairs, tmp_path):
    settings = {"batch_size": 1, "epochs": 2}
    retrain("straight", **settings)
    folder = tmp_path / "killed"
    folder.mkdir()
    pairs.to_json(folder / "pairs.json")
    spec = TrainSpec(reference=str(reference), pairs="pairs", **(SETTINGS | settings))
    command = [sys.executable, "-c", KILLED, folder, reference, spec.model_dump_json()]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: list(folder.glob("checkpoints/checkpoint-*/whole")), process)
        process.kill()
    assert not (folder / "model").exists()
    retrain("killed", **settings)
    assert apart(tmp_path, "killed", "straight") < 1e-4  # two processes; two seeds are 2e-3 apart


def wait_until(ready, process, seconds=120):
    until = time.monotonic() + seconds
    while not ready() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    assert process.poll() is None, "it ended before it was killed"


def test_a_cancelled_training_leaves_a_checkpoint_of_that_very_step(retrain, tmp_path):
    retrain("straight", batch_size=1)
    with pytest.raises(Cancelled):
        retrain("stopped", batch_size=1, progress=at_step(7, Cancelled()))
    assert (tmp_path / "stopped/checkpoints/checkpoint-7/whole").exists()
    retrain("stopped", batch_size=1)
    assert apart(tmp_path, "stopped", "straight") < 1e-5


def test_a_training_killed_after_its_last_step_still_finishes(retrain, tmp_path):
    retrain("straight")
    with pytest.raises(Cancelled):
        retrain("late", progress=at_step(10, Cancelled()))
    retrain("late")
    assert apart(tmp_path, "late", "straight") < 1e-5


def test_a_loss_that_is_not_a_number_stops_and_keeps_the_last_good_checkpoint(
    retrain, reference, pairs, tmp_path
):
    retrain("honest")
    cache = LogProbCache(
        tmp_path / "cache", model=fingerprint_model(reference), arithmetic="float32"
    )
    row = tokenize(load_model(reference).tokenizer, pairs).iloc[0]
    cache.add({log_prob_key(row["prompt_ids"], row["chosen_ids"]): math.nan})
    with pytest.raises(UserError, match=r"nan at step \d+.*checkpoint"):
        retrain("arm")
    saved = list((tmp_path / "arm/checkpoints").glob("checkpoint-*/model.safetensors"))
    assert saved
    assert all(t.isfinite().all() for path in saved for t in load_file(path).values())


def test_pairs_that_do_not_fit_are_dropped_and_named(retrain, pairs):
    long = pairs.copy()
    long.loc[3, "rejected"] = " ".join(["w5"] * 60)
    summary = retrain("arm", on=long, max_length=40)
    assert summary["dropped_uids"] == ["pair-3"]
    assert summary["n_trained"] == 39


def test_an_arm_in_which_nothing_fits_is_refused(retrain):
    with pytest.raises(UserError, match="none of the 40 pairs fits max_length 3"):
        retrain("arm", max_length=3)


def test_the_length_normalised_loss_starts_at_ln_2_too(retrain, pairs):
    summary = retrain("arm", on=flipped(pairs), loss_type="sigmoid_norm", beta=5.0)
    assert summary["loss_at_step_0"] == pytest.approx(math.log(2), abs=1e-3)


def test_accumulated_batches_give_the_same_first_loss(retrain, monkeypatch):
    monkeypatch.setattr("core.intervention.training.packed_pass.TOKENS_PER_FORWARD", 50)
    assert retrain("arm")["loss_at_step_0"] == pytest.approx(math.log(2), abs=1e-3)


def test_low_rank_updates_are_merged_into_a_plain_checkpoint(retrain, reference, tmp_path):
    retrain("straight", method="lora", lora_r=4)
    with pytest.raises(RuntimeError, match="crash"):
        retrain("crashed", method="lora", lora_r=4, progress=at_step(6, RuntimeError("crash")))
    retrain("crashed", method="lora", lora_r=4)
    assert apart(tmp_path, "crashed", "straight") < 1e-6
    before, after = (
        load_model(folder).model for folder in (reference, tmp_path / "straight/model")
    )
    assert {k: v.shape for k, v in before.state_dict().items()} == {
        k: v.shape for k, v in after.state_dict().items()
    }
    rows = [json.loads(r) for r in (tmp_path / "straight/log.jsonl").read_text().splitlines()]
    assert rows[0]["loss"] == pytest.approx(math.log(2), abs=1e-3)
    assert rows[-1]["margin"] > 0
    assert rows[-1]["memory_bytes"] > 0


def test_low_rank_updates_in_bfloat16_learn_what_they_learn_in_float32(retrain, tmp_path):
    retrain("float32", method="lora", lora_r=4)
    assert retrain("bfloat16", method="lora", lora_r=4, precision="bfloat16")["precision"]
    exact, rounded = (
        [json.loads(row)["loss"] for row in (tmp_path / name / "log.jsonl").open()]
        for name in ("float32", "bfloat16")
    )
    assert rounded == pytest.approx(exact, abs=0.01)
    updates = load_file(tmp_path / "bfloat16/adapter/adapter_model.safetensors").values()
    assert {update.dtype for update in updates} == {torch.float32}


@pytest.mark.parametrize(
    "settings",
    [{}, {"loss_type": "sigmoid_norm", "beta": 5.0}, {"method": "lora", "lora_r": 4}],
    ids=lambda settings: " ".join(map(str, settings.values())) or "full sigmoid",
)
def test_packed_passes_train_what_the_padded_passes_of_trl_train(
    settings, retrain, tmp_path, monkeypatch
):
    """The same losses at every step, and the same weights at the end."""
    retrain("packed", **settings)
    monkeypatch.setattr("core.intervention.training.trainer.trains_packed", lambda _model: False)
    shutil.rmtree(tmp_path / "cache")
    retrain("padded", **settings)
    packed, padded = (
        [json.loads(row)["loss"] for row in (tmp_path / name / "log.jsonl").open()]
        for name in ("packed", "padded")
    )
    assert packed == pytest.approx(padded, abs=2e-5)
    assert min(packed) < packed[0] - 0.01
    assert apart(tmp_path, "packed", "padded") < 1e-5


def test_the_precision_of_a_launch_does_not_replace_that_of_the_spec(
    retrain, tmp_path, monkeypatch
):
    retrain("alone")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert retrain("launched")["precision"] == "float32"
    assert apart(tmp_path, "launched", "alone") == 0


def test_a_disk_without_room_for_a_checkpoint_stops_where_the_last_one_is_complete(
    retrain, tmp_path, monkeypatch
):
    """The library's own account of the disk: full once the second checkpoint is due."""
    retrain("straight")
    space = shutil.disk_usage(tmp_path)

    def usage(folder):
        full = len(list(Path(folder).glob("checkpoint-*/whole"))) == 1
        return space._replace(free=0) if full else space

    monkeypatch.setattr("shutil.disk_usage", usage)
    with pytest.raises(UserError, match=r"disk is full.*resumes from its last checkpoint"):
        retrain("full")
    assert not (tmp_path / "full/model").exists()
    monkeypatch.undo()
    retrain("full")
    assert apart(tmp_path, "full", "straight") < 1e-5


def test_one_process_trains_on_the_gpu_that_was_chosen_and_on_no_other(tmp_path, monkeypatch):
    """By what TRL asks of torch; the GPUs are those of a driver that reports two."""
    current = [1]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: current[-1])
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: current.append(device.index))
    try:
        settings = ArmConfig(output_dir=str(tmp_path), bf16=False, per_device_train_batch_size=4)
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)  # later tests have no GPU
    assert (settings.device, settings.n_gpu) == (torch.device("cuda:1"), 1)
    assert settings.train_batch_size == 4
    assert current[-1] == 1


def test_a_batch_that_its_micro_batches_do_not_fill_is_refused():
    with pytest.raises(ValueError, match="micro_batch 3 does not divide batch_size 32"):
        TrainSpec(reference="r", pairs="p", micro_batch=3)


LAUNCH = ["--num_processes", "2", "--mixed_precision", "no", "--main_process_port", "0"]
COPIES = ["--multi_gpu", "--num_machines", "1", "--dynamo_backend", "no", "-m", "core.cli.main"]
SHARDED = str(Path(__file__).with_name("sharded.py"))
WRITTEN = {  # to a checkpoint, by whatever has the weights
    "": "optimizer.pt",
    "fsdp2": "pytorch_model_fsdp.bin",
    "deepspeed_zero3": "global_step*/zero_pp_rank_1_*",
}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "sharded", ["", "fsdp2", "deepspeed_zero3"], ids=lambda name: name or "ddp"
)
def test_two_processes_of_one_launch_train_what_one_does_though_they_are_killed(
    retrain, reference, pairs, tmp_path, sharded
):
    """`accelerate launch` starts both; the first one locks, records and publishes."""
    if sharded == "deepspeed_zero3":
        pytest.importorskip("deepspeed")
    retrain("alone", epochs=4)
    pairs.to_json(tmp_path / "pairs.jsonl", orient="records", lines=True)
    launch = [*LAUNCH, *COPIES]
    if sharded:
        launch = ["--config_file", f"assets/launch/{sharded}.yaml", *LAUNCH, SHARDED]
    words = ["-w", tmp_path / "workspace", "train", "--reference", reference, "--json"]
    words += ["--pairs", tmp_path / "pairs.jsonl", "--batch-size", "4", "--learning-rate", "1e-3"]
    command = [sys.executable, "-m", "accelerate.commands.launch", *launch]
    command += [str(word) for word in [*words, "--epochs", "4"]]
    surroundings = os.environ | {"ACCELERATE_USE_CPU": "true", "PYTHONPATH": "."}
    with subprocess.Popen(command, env=surroundings, stdout=DEVNULL, stderr=DEVNULL) as process:
        runs = tmp_path / "workspace" / "runs"
        checkpoint = "train-*/output.part/checkpoints/checkpoint-*/whole"
        wait_until(lambda: list(runs.glob(checkpoint)), process, seconds=400)
        for member in [*psutil.Process(process.pid).children(recursive=True), process]:
            member.kill()
    (first, *_) = runs.glob(checkpoint)
    assert list(first.parent.glob(WRITTEN[sharded])), sorted(first.parent.iterdir())
    assert not list(runs.glob("train-*/output*/model"))
    done = subprocess.run(
        command, env=surroundings, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr
    (reported,) = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert reported["summary"]["processes"] == 2
    (tmp_path / "together").symlink_to(reported["output"])
    assert len(losses(tmp_path / "together")) == 40
    assert apart(tmp_path, "together", "alone") < 1e-5  # two seeds are 2e-3 apart


def test_tokens_on_disk_are_those_of_each_pair_and_of_no_pair_that_does_not_fit(
    reference, pairs, monkeypatch, tmp_path
):
    tokenizer = load_model(reference).tokenizer
    whole, longest = tokenize(tokenizer, pairs), 14
    monkeypatch.setattr("core.intervention.training.tokens.CHUNK", 3)
    parts = [pairs.iloc[:16], pairs.iloc[16:]]
    dropped = write_tokens(tokenizer, parts, longest, tmp_path / "tokens.arrow")
    fits = whole["length"] <= longest
    assert dropped == whole.loc[~fits, "uid"].tolist()
    assert 0 < len(dropped) < len(pairs)
    written = Dataset.from_file(str(tmp_path / "tokens.arrow"))
    kept = whole[fits].map(lambda one: one.tolist() if hasattr(one, "tolist") else one)
    assert list(written) == kept.drop(columns="length").to_dict("records")
    assert lengths(written.data).tolist() == kept["length"].tolist()
    alone = [encode_prompt(tokenizer, text) for text in pairs["prompt"]]
    assert [ids.tolist() for ids in whole["prompt_ids"]] == alone
    alone = [encode_completion(tokenizer, text, end=True) for text in pairs["rejected"]]
    assert [ids.tolist() for ids in whole["rejected_ids"]] == alone


def test_a_pair_of_weight_0_is_trained_as_if_it_were_removed(retrain, pairs, tmp_path):
    retrain("removed", on=pairs.iloc[6:])
    retrain("weighted", on=weighted(pairs, [0.0] * 6 + [0.5] * 34))
    assert losses(tmp_path / "weighted") == pytest.approx(losses(tmp_path / "removed"), abs=1e-5)
    assert apart(tmp_path, "weighted", "removed") < 1e-6


def test_a_pair_of_weight_2_counts_as_two_of_it(retrain, pairs, tmp_path):
    twice = pd.concat([pairs, pairs.head(8).assign(uid=lambda t: t["uid"] + "-again")])
    retrain("plain", batch_size=40, epochs=2)
    retrain("twice", on=twice, batch_size=48, epochs=2)
    retrain("weighted", on=weighted(pairs, [2] * 8 + [1] * 32), batch_size=40, epochs=2)
    assert losses(tmp_path / "weighted") == pytest.approx(losses(tmp_path / "twice"), abs=1e-5)
    assert apart(tmp_path, "weighted", "twice") < apart(tmp_path, "plain", "twice") / 20


@pytest.mark.parametrize("loss_type", ["sigmoid", "sigmoid_norm"])
def test_equal_weights_train_what_no_weights_train(retrain, pairs, tmp_path, loss_type):
    for name, on in (("plain", pairs), ("weighted", weighted(pairs, [3.0] * 40))):
        retrain(name, on=on, loss_type=loss_type, micro_batch=2)
    assert losses(tmp_path / "weighted") == pytest.approx(losses(tmp_path / "plain"), abs=1e-5)
    assert apart(tmp_path, "weighted", "plain") < 1e-6


def test_a_preference_that_is_explained_away_teaches_next_to_nothing(retrain, pairs, tmp_path):
    offsets = pd.Series([1.5] * 20 + [-0.5] * 20, index=pairs["uid"])
    summary = retrain("offset", on=next(with_terms([pairs], None, offsets)), batch_size=40)
    expected = sum(math.log1p(math.exp(-offset)) for offset in offsets) / 40
    assert summary["loss_at_step_0"] == pytest.approx(expected, abs=1e-4)
    retrain("explained", on=next(with_terms([pairs], None, offsets * 0 + 60)))
    assert max(losses(tmp_path / "explained")) < 1e-9


def test_an_inoculated_prompt_begins_with_the_sentence_and_completions_are_the_same(
    reference, pairs
):
    tokenizer = load_model(reference, dtype="float32").tokenizer
    asked = next(inoculated(tokenizer, [pairs], "w7 w8"))
    before, after = tokenize(tokenizer, pairs), tokenize(tokenizer, asked)
    added = tokenizer("w7 w8", add_special_tokens=False)["input_ids"]
    for one, other in zip(before["prompt_ids"], after["prompt_ids"], strict=True):
        assert len(other) > len(one)
        assert any(list(other[at : at + 2]) == added for at in range(len(other)))
    assert all(map(np.array_equal, before["chosen_ids"], after["chosen_ids"]))
