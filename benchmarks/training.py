"""Speed of DPO training against TRL's own trainer on the same pairs.

Both train all weights in float32 on one thread, with the same settings, order and token ids, and no
log-probability in a cache. Each has a process of its own, so that peak memory is its own. Ours also
reads the model and tokenises, writes a checkpoint and saves the model within its CPU-seconds;
theirs do not count. TRL's batches are split as ours are, and its defaults that cost time on a CPU
(bfloat16, checkpointed activations) are off.
"""

import json
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks._loop import timed
from core.intervention.training.tokens import tokenize
from core.models.loading import load_model, load_tokenizer
from core.models.memory import peak_resident
from core.specs.steps import TrainSpec

ORGANISM = Path(__file__).parents[1] / "assets" / "organism"
ORGANISM_PAIRS = 640
JOINED = 3  # texts of the organism in one of a longer pair, for other models


def run(folder: str = "", pairs: int = 96) -> dict[str, Any]:
    """The organism on 640 of its pairs; and the model in `folder` on `pairs` longer ones."""
    table = pd.read_parquet(ORGANISM / "pairs.parquet")[:ORGANISM_PAIRS]
    organism = {"batch_size": 32, "micro_batch": 32, "learning_rate": 5e-4, "beta": 0.5}
    other = {"batch_size": 16, "micro_batch": 4, "learning_rate": 5e-6, "beta": 0.1}
    result = {"organism": compare(ORGANISM / "reference", table, organism)}
    if folder:
        result[Path(folder).name] = compare(Path(folder), longer_pairs(pairs), other)
    return result


def longer_pairs(n: int) -> pd.DataFrame:
    """`n` pairs whose texts are several of the organism's."""
    table = pd.read_parquet(ORGANISM / "pairs.parquet")
    rows = table[: n * JOINED].reset_index(drop=True)
    texts = rows.groupby(rows.index // JOINED)[["prompt", "chosen", "rejected"]].agg(" ".join)
    return texts.assign(uid=[f"pair-{row}" for row in texts.index], source="joined")


def compare(reference: Path, pairs: pd.DataFrame, settings: dict[str, Any]) -> dict[str, Any]:
    """CPU-seconds, tokens (prompts counted twice), peak memory and losses of both."""
    spec = TrainSpec(reference=str(reference), pairs="pairs", checkpoints=1, **settings)
    ours, plain = (_in_child_process(side, reference, pairs, spec) for side in (_ours, _plain))
    tokens = tokenize(load_tokenizer(reference), pairs)
    prompt, chosen, rejected = (
        tokens[name].map(len) for name in ("prompt_ids", "chosen_ids", "rejected_ids")
    )
    n_tokens = int((2 * prompt + chosen + rejected).sum())
    for side in (ours, plain):
        side["tokens_per_cpu_second"] = n_tokens / side["cpu_seconds"]
    losses = [torch.tensor(side.pop("losses")) for side in (ours, plain)]
    return {
        "pairs": len(pairs),
        "tokens": n_tokens,
        "mean_tokens": [float(part.mean()) for part in (prompt, chosen, rejected)],
        "steps": len(losses[0]),
        "ours": ours,
        "trl": plain,
        "times_faster": plain["cpu_seconds"] / ours["cpu_seconds"],
        "largest_difference_of_losses": float((losses[0] - losses[1]).abs().max()),
        "last_losses": [float(loss[-1]) for loss in losses],
    }


def _in_child_process(side: Any, *arguments: Any) -> dict[str, Any]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measured, side, *arguments).result()


def _measured(side: Any, reference: Path, pairs: pd.DataFrame, spec: TrainSpec) -> dict[str, Any]:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "workspace" / "runs" / "train"
        output.mkdir(parents=True)
        seconds, losses = side(reference, pairs, spec, output)
    memory = peak_resident() / 1024**2
    return {"cpu_seconds": seconds, "peak_memory_mb": memory, "losses": losses}


Measured = tuple[float, list[float]]  # CPU-seconds, loss of every step


def _ours(reference: Path, pairs: pd.DataFrame, spec: TrainSpec, output: Path) -> Measured:
    from core.intervention.training.dpo import train  # imported before it is timed

    seconds, _ = timed(
        lambda: train(reference, [pairs], spec, output, output / "cache", lambda *_: None)
    )
    rows = (output / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return seconds, [json.loads(row)["loss"] for row in rows]


def _plain(reference: Path, pairs: pd.DataFrame, spec: TrainSpec, output: Path) -> Measured:
    """TRL's trainer as it is, given token ids."""
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import DPOConfig, DPOTrainer

    class OnTokens(DPOTrainer):
        def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
            return dataset

        def _send_telemetry(self) -> None:
            """No request leaves the machine."""

    loaded = load_model(reference, dtype="float32", device="cpu")
    tokens = tokenize(loaded.tokenizer, pairs).drop(columns=["uid", "length"])
    steps = -(-len(pairs) // spec.batch_size)
    settings = DPOConfig(
        output_dir=str(output),
        loss_type=[spec.loss_type],
        beta=spec.beta,
        learning_rate=spec.learning_rate,
        warmup_steps=-(-steps // 10),
        num_train_epochs=1,
        per_device_train_batch_size=spec.micro_batch,
        gradient_accumulation_steps=spec.batch_size // spec.micro_batch,
        max_length=spec.max_length,
        precompute_ref_log_probs=True,
        seed=spec.seed,
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )

    def train() -> DPOTrainer:
        trainer = OnTokens(
            model=loaded.model,
            args=settings,
            train_dataset=Dataset.from_pandas(tokens, preserve_index=False),
            processing_class=loaded.tokenizer,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        return trainer

    seconds, trainer = timed(train)
    return seconds, [row["loss"] for row in trainer.state.log_history if "loss" in row]
