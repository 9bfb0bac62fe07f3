"""DPO on one arm's pairs, from the reference (Rafailov et al., arXiv 2305.18290).

Prompts and completions are tokenised separately, every completion ends with the end-of-sequence
token, and a pair that does not fit is dropped and reported by uid, never cut. Several processes
that `accelerate launch` or `torchrun` started train one arm together. Knows nothing of recipes.
"""

import json
import math
import shutil
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate import PartialState
from datasets import Dataset
from datasets.utils.logging import disable_progress_bar
from peft import LoraConfig
from transformers import PrinterCallback
from transformers.utils import logging as transformers_logging

from core import environment
from core.errors import UserError
from core.intervention.training.checkpoints import (
    bytes_needed,
    last_complete,
    refuse_full_disk,
)
from core.intervention.training.packed_pass import pairs_per_pass
from core.intervention.training.tokens import LogProbCache, inoculated, lengths, write_tokens
from core.intervention.training.trainer import ArmConfig, ArmTrainer, Watch
from core.models.devices import is_offloaded, pick_device, spreading
from core.models.loading import LoadedModel, load_model, merge_adapter
from core.runs.hashing import fingerprint_model
from core.runs.progress import NotedReport
from core.specs.steps import TrainSpec
from core.storage.atomic import write_atomic

SCHEDULERS = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}
LOG_ROWS = 400  # at most, per training


def train(
    reference: Path,
    pairs: Iterable[pd.DataFrame],
    spec: TrainSpec,
    output: Path,
    cache: Path,
    progress: NotedReport,
) -> dict[str, Any]:
    """Write `model/` and `log.jsonl` to `output`; return the content of `summary.json`.

    Low-rank updates are merged into `model/`, and also saved in `adapter/`. `cache` is the folder
    of the reference's log-probabilities, which all arms share. `pairs` yields tables `uid, prompt,
    chosen, rejected`, one of which is in memory at a time. Resumes from the checkpoints that an
    earlier attempt left in `output`. When `progress` raises `Cancelled`, one more checkpoint is
    saved and the exception is raised again.
    """
    began = time.monotonic()
    progress(0, 1, "reading the reference")
    device = pick_device("auto")
    on_gpu = device.type == "cuda"
    if device.index is not None:
        torch.cuda.set_device(device)  # the GPU that the libraries below use
    processes = PartialState(cpu=not on_gpu)  # joins the launch's other processes, if any
    precision = _precision(spec, on_gpu=on_gpu)
    weights = _weights(spec, precision, processes.num_processes)
    loaded = _reference(reference, processes.num_processes, weights)
    needed = bytes_needed(loaded.model, spec)
    refuse_full_disk(output, needed)  # before minutes of tokenising
    pairs = inoculated(loaded.tokenizer, pairs, spec.inoculation)
    longest = min(spec.max_length, loaded.model.config.max_position_embeddings)
    tokens, dropped = _tokens(loaded.tokenizer, pairs, longest, output / "checkpoints" / "tokens")
    if not len(tokens):
        raise UserError(
            f"{spec.pairs}: none of the {len(dropped)} pairs fits max_length {spec.max_length}. "
            "Raise max_length, or keep more pairs."
        )
    use_cache = loaded.model.config.use_cache
    environment.compute_in(precision)
    arithmetic = precision if weights == "float32" else f"{weights}-weights"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of the libraries, about each other
        trainer = _trainer(
            loaded,
            tokens,
            _arguments(spec, loaded.model.config, tokens, output / "checkpoints", precision),
            lora=_lora(spec),
            cache=LogProbCache(cache, model=fingerprint_model(reference), arithmetic=arithmetic),
            progress=progress,
        )
    trainer.bytes_needed = needed
    _fit(trainer, output, progress)
    loaded.model.config.use_cache = use_cache  # training switches it off; generation needs it
    _save(trainer, reference, output, spec)
    processes.wait_for_everyone()
    if not processes.is_main_process:
        return {}  # the first process may have published the output by now
    return {
        "n_trained": len(tokens),
        "dropped_uids": dropped,
        "loss_at_step_0": _log_rows(output / "log.jsonl")[0]["loss"],
        "precision": precision,
        "processes": processes.num_processes,
        "train_seconds": round(time.monotonic() - began, 2),
    }


def _reference(folder: Path, processes: int, weights: str) -> LoadedModel:
    """Complete and on the CPU, from where the trainer moves it; or spread over several GPUs."""
    if not spreading("auto"):
        return load_model(folder, dtype=weights, device="cpu")
    if processes > 1:
        raise UserError(
            "balanced spreads the model of one process. Several processes of a launch shard theirs "
            "by the launch's own settings: leave the device out."
        )
    loaded = load_model(folder, dtype=weights)
    if is_offloaded(loaded.model):
        raise UserError(
            f"{folder}: its weights do not fit the devices here, and offloaded weights cannot be "
            "trained. Use more GPUs, or a machine with more memory."
        )
    return loaded


def _precision(spec: TrainSpec, *, on_gpu: bool) -> str:
    return ("bfloat16" if on_gpu else "float32") if spec.precision == "auto" else spec.precision


def _weights(spec: TrainSpec, precision: str, processes: int) -> str:
    """The arithmetic of the model's weights while it is trained.

    Weights that are trained are float32: bfloat16 would round small updates away. Frozen ones are
    kept as they are used, in half the memory and without a cast in every pass, beside low-rank
    updates in float32; not where several processes shard them, which takes one arithmetic for all.
    """
    return precision if spec.method == "lora" and processes == 1 else "float32"


def _lora(spec: TrainSpec) -> LoraConfig | None:
    """Low-rank updates of every linear layer, or None where all weights are trained."""
    if spec.method == "full":
        return None
    return LoraConfig(
        r=spec.lora_r,
        lora_alpha=spec.lora_alpha,
        lora_dropout=spec.lora_dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def _trainer(
    loaded: LoadedModel,
    tokens: Dataset,
    arguments: ArmConfig,
    *,
    lora: LoraConfig | None,
    cache: LogProbCache,
    progress: NotedReport,
) -> ArmTrainer:
    disable_progress_bar()
    transformers_logging.disable_progress_bar()
    trainer = ArmTrainer(
        cache,
        progress,
        model=loaded.model,
        processing_class=loaded.tokenizer,
        args=arguments,
        train_dataset=tokens,
        peft_config=lora,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _tokens(
    tokenizer: Any, pairs: Iterable[pd.DataFrame], longest: int, folder: Path
) -> tuple[Dataset, list[str]]:
    """The pairs that fit, mapped from `folder`, and the uids of the others.

    The first of several processes writes them, and TRL exchanges the reference's values there.
    """
    path, left_out = folder / "tokens.arrow", folder / "dropped.json"
    with PartialState().main_process_first():
        if PartialState().is_main_process:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            write_atomic(left_out, json.dumps(write_tokens(tokenizer, pairs, longest, path)))
        return Dataset.from_file(str(path)), json.loads(left_out.read_bytes())


def _fit(trainer: ArmTrainer, output: Path, progress: NotedReport) -> None:
    """Train to the end from the last complete checkpoint, or until cancelled."""
    watch = Watch(output / "log.jsonl", progress)
    trainer.add_callback(watch)
    with trainer.accelerator.main_process_first():
        checkpoint = last_complete(output / "checkpoints")
        if trainer.accelerator.is_main_process:
            step = int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0
            _cut_log(watch.log, step, every=int(trainer.args.logging_steps))
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if watch.cancelled is not None:
        raise watch.cancelled


def _save(trainer: ArmTrainer, reference: Path, output: Path, spec: TrainSpec) -> None:
    """Write `model/`, all weights whatever was trained, and delete the checkpoints."""
    saved = output / ("adapter" if spec.method == "lora" else "model")
    trainer.save_model(str(saved))
    if not trainer.accelerator.is_main_process:
        return
    if not any(saved.glob("*.safetensors")):
        raise UserError(
            "the launch's settings shard the weights and never gather them: no model was saved. "
            "Under FSDP set fsdp_state_dict_type: FULL_STATE_DICT (assets/launch/fsdp2.yaml)."
        )
    (saved / "training_args.bin").unlink(missing_ok=True)
    if spec.method == "lora":
        merged = merge_adapter(load_model(reference, dtype="float32", device="cpu"), saved)
        merged.model.save_pretrained(output / "model")
        merged.tokenizer.save_pretrained(output / "model")
    shutil.rmtree(output / "checkpoints", ignore_errors=True)


def _arguments(
    spec: TrainSpec, config: Any, tokens: Dataset, output: Path, precision: str
) -> ArmConfig:
    on_gpu = pick_device("auto").type == "cuda"
    processes = PartialState().num_processes
    if spec.batch_size % processes:
        raise UserError(
            f"batch_size {spec.batch_size} cannot be shared by {processes} processes. "
            "Choose a multiple, or launch fewer."
        )
    steps = math.ceil(len(tokens) * spec.epochs / spec.batch_size)
    share = spec.batch_size // processes
    longest = int(lengths(tokens.data).max())
    micro = spec.micro_batch or pairs_per_pass(share, longest, config, on_gpu=on_gpu)
    return ArmConfig(
        output_dir=str(output),
        loss_type=[spec.loss_type],
        beta=spec.beta,
        learning_rate=spec.learning_rate,
        lr_scheduler_type=SCHEDULERS[spec.scheduler],
        warmup_steps=math.ceil(steps * spec.warmup_ratio),
        weight_decay=spec.weight_decay,
        max_grad_norm=spec.max_grad_norm,
        num_train_epochs=spec.epochs,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=max(1, share // micro),
        max_length=spec.max_length,
        precompute_ref_log_probs=True,
        precompute_ref_batch_size=micro if on_gpu else min(share, 8 * micro),  # keeps less
        seed=spec.seed,
        use_cpu=not on_gpu,
        bf16=precision == "bfloat16",
        activation_checkpointing=on_gpu,
        dataloader_pin_memory=on_gpu,
        logging_steps=math.ceil(steps / LOG_ROWS),
        logging_first_step=True,
        logging_nan_inf_filter=False,
        save_steps=math.ceil(steps / spec.checkpoints),
        save_total_limit=2,
        report_to=environment.tracker(output.parents[3] / "tensorboard" / output.parents[1].name),
        disable_tqdm=True,
        log_level="error",
        ddp_find_unused_parameters=False,
    )


def _cut_log(log: Path, step: int, *, every: int) -> None:
    """Drop the rows after the step that training resumes from; refuse if earlier ones are lost."""
    rows = [row for row in _log_rows(log) if row["step"] <= step]
    wanted = [n for n in range(1, step + 1) if n == 1 or n % every == 0]
    if [row["step"] for row in rows] != wanted:
        raise _damaged(log, f"rows before step {step} are missing")
    write_atomic(log, "".join(f"{json.dumps(row)}\n" for row in rows))


def _log_rows(log: Path) -> list[dict[str, Any]]:
    """All complete rows; a last line that a crash cut off is left out."""
    try:
        lines = log.read_text(encoding="utf-8").split("\n") if log.exists() else [""]
        return [json.loads(line) for line in lines[:-1]]
    except ValueError as error:
        raise _damaged(log, str(error)) from error


def _damaged(log: Path, how: str) -> UserError:
    return UserError(
        f"{log}: damaged ({how}). Put a copy of it back; or delete it and the folder of "
        "checkpoints beside it, then start the run again: it begins from step 0."
    )
