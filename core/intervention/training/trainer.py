"""TRL's DPO trainer with cached reference log-probabilities and checks.

Adds to TRL three refusals (a loss that is not finite, a first loss that is not ln 2, a full disk)
and removes what it sends, prints and recomputes. Where pairs have weights w or offsets o, the loss
is Σ w·ℓ / Σ w with ℓ = −log σ(β·Δ + o); a batch divides by the mean weight of all pairs, so that
its gradient does not depend on which pairs share it. Knows nothing of pairs or presets
(core.intervention.training.dpo).
"""

import json
import math
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import is_peft_model, reduce
from datasets import Dataset
from torch import Tensor
from torch.nn.functional import logsigmoid
from transformers import TrainerCallback
from trl import DPOConfig, DPOTrainer

from core.errors import UserError
from core.intervention.training.checkpoints import refuse_full_disk, seal
from core.intervention.training.packed_pass import trains_packed, use_packed_pass
from core.intervention.training.tokens import TERMS, LogProbCache, log_prob_key
from core.models.memory import peak_bytes
from core.runs.progress import Cancelled, NotedReport

LN_2_TOLERANCE = 0.05  # above bfloat16 noise on one pair, below what other weights give
BLOCK = 4096  # pairs between two writes of the cache: what a cancelled pass keeps


class ArmConfig(DPOConfig):
    """TRL's settings for a process that computes on one GPU, the current one.

    The library would take the first, and split every batch across all that it sees.
    """

    @cached_property
    def _setup_devices(self) -> torch.device:
        current = torch.cuda.current_device() if torch.cuda.is_available() else 0
        device: torch.device = super()._setup_devices
        if device.type != "cuda" or self.distributed_state.num_processes > 1:
            return device
        self._n_gpu = 1
        device = torch.device("cuda", current)
        torch.cuda.set_device(device)
        return device


class ArmTrainer(DPOTrainer):
    """TRL's trainer with our cache, our checks, and nothing sent or printed."""

    def __init__(self, cache: LogProbCache, progress: NotedReport, **options: Any) -> None:
        self.cache, self.report = cache, progress
        self.bytes_needed = 0  # on the disk, before a checkpoint is written
        self._checked = False
        self._references = (0, 0)  # batches done, batches in all
        super().__init__(**options)
        dataset: Any = self.train_dataset
        terms = {name: np.asarray(dataset[name]) for name in TERMS}
        self._mean_weight = float(terms["weight"].mean())
        if any((values != TERMS[name]).any() for name, values in terms.items()):
            self.data_collator = _collated_with_terms(self.data_collator)

    def _send_telemetry(self) -> None:
        """No request leaves the machine."""

    def create_model_card(self, *_args: Any, **_options: Any) -> None:
        """A checkpoint needs none."""

    def _prepare_dataset(self, dataset: Dataset, *_args: Any, **_options: Any) -> Dataset:
        """The pairs arrive as tokens."""
        return dataset

    def _precompute_ref_logps(self, dataset: Dataset, name: str, batch_size: int) -> Dataset:
        """TRL's own pass, block by block, over the pairs that are not cached yet."""
        model = self.accelerator.unwrap_model(self.model)
        model = model.get_base_model() if is_peft_model(model) else model
        if trains_packed(model):
            use_packed_pass(model)
        cached = self.cache.read()
        self.accelerator.wait_for_everyone()  # no process may see what another has just added
        chosen, rejected = _keys(dataset, "chosen"), _keys(dataset, "rejected")
        rows = [i for i in _longest_first(dataset) if {chosen[i], rejected[i]} - cached.keys()]
        self._references = (0, math.ceil(len(rows) / batch_size))
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            fresh = super()._precompute_ref_logps(dataset.select(block), name, batch_size)
            values: dict[str, float] = {}
            for side, keys in (("chosen", chosen), ("rejected", rejected)):
                values |= zip([keys[i] for i in block], fresh[f"ref_{side}_logps"], strict=True)
            cached |= values
            if self.accelerator.is_main_process:
                self.cache.add(values)
        for side, keys in (("chosen", chosen), ("rejected", rejected)):
            dataset = dataset.add_column(f"ref_{side}_logps", [cached[key] for key in keys])
        return dataset

    def compute_ref_log_probs(self, model: Any, inputs: Any) -> Any:
        """One batch under the reference, with progress."""
        done, total = self._references
        self.report(done, total, "log-probabilities under the reference")
        self._references = (done + 1, total)
        return super().compute_ref_log_probs(model, inputs)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        columns: Any = self._signature_columns
        columns += [name for name in TERMS if name not in columns]

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **options: Any) -> Any:
        """The loss of a batch; `UserError` where it is not finite, in every process."""
        terms, outputs = {n: inputs.pop(n) for n in TERMS if n in inputs}, []
        hook = model.register_forward_hook(lambda _model, _inputs, output: outputs.append(output))
        try:
            loss = plain = super().compute_loss(model, inputs, *args, **options)
        finally:
            hook.remove()
        if terms:
            loss = self._loss(outputs[0].log_probs.sum(dim=1), inputs, **terms)
        value = float(self.accelerator.gather(loss.detach().reshape(1)).mean())  # all stop, or none
        if not math.isfinite(value):
            raise UserError(
                f"the loss became {value} at step {self.state.global_step}. Training stopped; "
                f"the last good checkpoint is kept in {self.args.output_dir}. "
                "Lower learning_rate, or raise beta."
            )
        if not self._checked and self.state.global_step == 0:
            self._check_ln_2(float(self.accelerator.gather(plain.detach().reshape(1)).mean()))
        self._checked = True
        return loss

    def _loss(self, logps: Tensor, inputs: Any, weight: Tensor, offset: Tensor) -> Tensor:
        """Of (2 · pair,) log-probabilities, chosen first; `weight` and `offset` are (pair,)."""
        ratios = logps - torch.cat([inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]])
        if self.loss_types == ["sigmoid_norm"]:
            ratios = ratios / inputs["completion_mask"].sum(dim=1).clamp(min=1)
        chosen, rejected = ratios.chunk(2)
        losses = -logsigmoid(self.beta * (chosen - rejected) + offset)
        return (weight * losses).mean() / self._mean_weight

    def _check_ln_2(self, loss: float) -> None:
        """Before the first step policy and reference are the same model: the margin is 0."""
        if abs(loss - math.log(2)) > LN_2_TOLERANCE:
            raise UserError(
                f"the loss before the first step is {loss:.4f}, not ln 2: the cached reference "
                "log-probabilities are of other weights. Delete "
                f"{self.cache.folder}/{self.cache.name}*."
            )

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if self.is_world_process_zero():
            refuse_full_disk(Path(str(self.args.output_dir)), self.bytes_needed)
        super()._save_checkpoint(model, trial)
        folder = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
        self.accelerator.wait_for_everyone()  # every process has written its part
        if self.args.should_save:
            seal(folder)


class Watch(TrainerCallback):
    """Reports every step, writes log.jsonl, and turns a cancellation into a checkpoint."""

    def __init__(self, log: Path, progress: NotedReport) -> None:
        self.log, self.report = log, progress
        self.cancelled: Cancelled | None = None
        self.loss = math.nan
        self.tokens, self.clock = 0.0, time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_options: Any) -> None:
        """NotedReport the step; a cancelled run saves and stops."""
        note = f"loss {self.loss:.3f}" if math.isfinite(self.loss) else "training"
        stopped = False
        try:
            self.report(state.global_step, state.max_steps, note)
        except Cancelled:
            stopped = True
        if _any_process(stopped, args.device):
            self.cancelled = Cancelled()
            control.should_save = control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Append one line to the log of the training."""
        if not logs or "loss" not in logs or not state.is_world_process_zero:
            return
        self.loss = logs["loss"]
        seconds, self.clock = time.monotonic() - self.clock, time.monotonic()
        seen, self.tokens = logs["num_tokens"] - self.tokens, logs["num_tokens"]
        row = {
            "step": state.global_step,
            "loss": logs["loss"],
            "margin": logs["rewards/margins"],
            "accuracy": logs["rewards/accuracies"],
            "learning_rate": logs["learning_rate"],
            "tokens_per_second": round(seen / seconds, 1),
            "memory_bytes": peak_bytes(),
        }
        with self.log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")


def _collated_with_terms(collate: Callable[[Any], dict[str, Any]]) -> Callable[[Any], Any]:
    """Batches that have each pair's `TERMS`, too."""

    def collated(examples: list[dict[str, Any]]) -> dict[str, Any]:
        terms = {name: torch.tensor([row[name] for row in examples]) for name in TERMS}
        return collate(examples) | terms

    return collated


def _any_process(stopped: bool, device: torch.device) -> bool:
    """Whether any process of the launch was asked to stop: all stop at the same step, or none."""
    if PartialState().num_processes == 1:
        return stopped
    return bool(reduce(torch.tensor([float(stopped)], device=device)).item())


def _keys(dataset: Dataset, side: str) -> list[str]:
    columns = zip(dataset["prompt_ids"], dataset[f"{side}_ids"], strict=True)
    return [log_prob_key(prompt, completion) for prompt, completion in columns]


def _longest_first(dataset: Dataset) -> list[int]:
    """Rows in an order in which batches need little padding."""
    sides = zip(dataset["prompt_ids"], dataset["chosen_ids"], dataset["rejected_ids"], strict=True)
    lengths = [len(prompt) + max(len(chosen), len(rejected)) for prompt, chosen, rejected in sides]
    return sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
