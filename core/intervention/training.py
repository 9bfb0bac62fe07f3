"""Retrain the reference with DPO on one arm's pairs.

Prompts and completions are tokenised apart (core.data.tokens), every completion ends with the
end-of-sequence token, and a pair that does not fit is dropped and reported by uid, never cut.
Knows nothing of recipes: a flipped pair is one whose columns were swapped.
"""

import json
import logging
import math
import shutil
import time
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
from accelerate import PartialState
from datasets import Dataset
from datasets.utils.logging import disable_progress_bar
from transformers import PrinterCallback
from transformers.utils import logging as transformers_logging
from trl import DPOConfig

from core.data.tokens import encode_completions, encode_prompts
from core.errors import UserError
from core.intervention.log_probs import LogProbCache
from core.intervention.trainer import WHOLE, ArmTrainer, Report, Watch
from core.models.loading import LoadedModel, load_model, pick_device
from core.runs.fingerprints import fingerprint_model
from core.runs.specs import TrainSpec

TOKENS_PER_FORWARD = 32_768  # larger batches are split and their gradients accumulated
CHECKPOINTS = 10  # per training
LOG_ROWS = 400  # at most, per training


def train(
    reference: Path,
    pairs: pd.DataFrame,
    spec: TrainSpec,
    output: Path,
    cache: Path,
    progress: Report,
) -> dict[str, Any]:
    """Write `model/` and `log.jsonl` to `output`; return what `summary.json` says.

    `cache` is the folder of the reference's log-probabilities, which all arms share. Picks up the
    checkpoints that an earlier attempt left in `output`. When `progress` raises `Cancelled`, one
    more checkpoint is saved and the exception goes on.
    """
    began = time.monotonic()
    progress(0, 1, "reading the reference")
    loaded = load_model(reference, dtype="float32")
    tokens = tokenize(loaded.tokenizer, pairs)
    fits = tokens["length"] <= min(spec.max_length, loaded.model.config.max_position_embeddings)
    fits &= tokens["prompt_ids"].map(len) > 0  # none where the chat template refuses the prompt
    if not fits.any():
        raise UserError(
            f"{spec.pairs}: none of the {len(pairs)} pairs fits max_length {spec.max_length}. "
            "Raise max_length, or keep more pairs."
        )
    caches = loaded.model.config.use_cache
    trainer = _trainer(loaded, tokens[fits], spec, output, _cache(reference, cache), progress)
    _fit(trainer, output, progress)
    loaded.model.config.use_cache = caches  # training switches it off; generation needs it
    trainer.save_model(str(output / "model"))
    (output / "model" / "training_args.bin").unlink(missing_ok=True)
    shutil.rmtree(output / "checkpoints", ignore_errors=True)
    return {
        "n_trained": int(fits.sum()),
        "dropped_uids": tokens.loc[~fits, "uid"].tolist(),
        "loss_at_step_0": _log_rows(output / "log.jsonl")[0]["loss"],
        "train_seconds": round(time.monotonic() - began, 2),
    }


def tokenize(tokenizer: Any, pairs: pd.DataFrame) -> pd.DataFrame:
    """`uid, prompt_ids, chosen_ids, rejected_ids, length` (tokens of the longer text)."""
    tokens = pd.DataFrame({"uid": pairs["uid"].to_numpy()})
    tokens["prompt_ids"] = encode_prompts(tokenizer, pairs["prompt"].tolist(), strict=False)
    for side in ("chosen", "rejected"):
        tokens[f"{side}_ids"] = encode_completions(tokenizer, pairs[side].tolist(), end=True)
    lengths = tokens[["prompt_ids", "chosen_ids", "rejected_ids"]].map(len)
    tokens["length"] = lengths["prompt_ids"] + lengths[["chosen_ids", "rejected_ids"]].max(axis=1)
    return tokens


def _cache(reference: Path, folder: Path) -> LogProbCache:
    arithmetic = "bfloat16" if pick_device("auto").type == "cuda" else "float32"
    return LogProbCache(folder, model=fingerprint_model(reference), arithmetic=arithmetic)


def _trainer(
    loaded: LoadedModel,
    tokens: pd.DataFrame,
    spec: TrainSpec,
    output: Path,
    cache: LogProbCache,
    progress: Report,
) -> ArmTrainer:
    disable_progress_bar()
    transformers_logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of the libraries, about each other
        trainer = ArmTrainer(
            cache,
            progress,
            model=loaded.model,
            processing_class=loaded.tokenizer,
            args=_arguments(
                spec, tokens, output / "checkpoints", on_gpu=loaded.device.type == "cuda"
            ),
            train_dataset=Dataset.from_pandas(tokens.drop(columns="length"), preserve_index=False),
        )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _fit(trainer: ArmTrainer, output: Path, progress: Report) -> None:
    """Train to the end from the last whole checkpoint, or stop where a cancellation came."""
    watch = Watch(output / "log.jsonl", progress)
    trainer.add_callback(watch)
    checkpoint = _last_checkpoint(output / "checkpoints")
    _cut_log(watch.log, int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if watch.cancelled is not None:
        raise watch.cancelled


def _arguments(spec: TrainSpec, tokens: pd.DataFrame, output: Path, *, on_gpu: bool) -> DPOConfig:
    processes = PartialState(cpu=not on_gpu).num_processes
    steps = math.ceil(len(tokens) * spec.epochs / spec.batch_size)
    micro = _micro_batch(max(1, spec.batch_size // processes), int(tokens["length"].max()))
    return DPOConfig(
        output_dir=str(output),
        loss_type=[spec.loss_type],
        beta=spec.beta,
        learning_rate=spec.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=math.ceil(steps * spec.warmup_ratio),
        num_train_epochs=spec.epochs,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=max(1, spec.batch_size // (micro * processes)),
        max_length=spec.max_length,
        precompute_ref_log_probs=True,
        seed=spec.seed,
        use_cpu=not on_gpu,
        bf16=on_gpu,
        gradient_checkpointing=on_gpu,
        dataloader_pin_memory=on_gpu,
        logging_steps=math.ceil(steps / LOG_ROWS),
        logging_first_step=True,
        logging_nan_inf_filter=False,
        save_steps=math.ceil(steps / CHECKPOINTS),
        save_total_limit=2,
        report_to="none",
        disable_tqdm=True,
        log_level="error",
    )


def _micro_batch(pairs: int, longest: int) -> int:
    """The largest divisor of `pairs` whose two texts each fit one forward pass."""
    fits = max(1, TOKENS_PER_FORWARD // (2 * longest))
    return max(size for size in range(1, pairs + 1) if pairs % size == 0 and size <= fits)


def _last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end; others are deleted."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    for path in found:
        if not (path / WHOLE).exists():
            logging.getLogger(__name__).warning("%s was cut off and is deleted", path.name)
            shutil.rmtree(path)
    return next((path for path in reversed(found) if path.exists()), None)


def _cut_log(log: Path, step: int) -> None:
    """Forget the rows after the step that training resumes from."""
    rows = [row for row in _log_rows(log) if row["step"] <= step]
    log.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def _log_rows(log: Path) -> list[dict[str, Any]]:
    """All whole rows; a last line that a crash cut is left out."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]
