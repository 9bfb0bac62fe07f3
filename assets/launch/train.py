"""Train one arm with TRL, as its settings say. Written by `pairtrace elsewhere export`.

    accelerate launch --config_file one_gpu.yaml train.py --reference PATH --output checkpoint

Needs torch, trl, accelerate (and peft, for low-rank updates). `settings.json` holds what PairTrace
would have trained with; the folder that comes out goes back with `pairtrace elsewhere import`.
"""

import argparse
import json
import math
import os
from pathlib import Path

import torch
from accelerate import PartialState
from datasets import load_dataset
from torch.nn.functional import logsigmoid
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer

HERE = Path(__file__).parent
SCHEDULERS = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


class WeightedTrainer(DPOTrainer):
    """TRL's loss with a factor `weight` per pair: sum of w * loss over sum of w, of all pairs."""

    def __init__(self, **options):
        super().__init__(**options)
        self.mean_weight = sum(self.train_dataset["weight"]) / len(self.train_dataset)
        collate = self.data_collator
        self.data_collator = lambda rows: {
            **collate(rows),
            "weight": torch.tensor([float(row["weight"]) for row in rows]),
        }

    def _set_signature_columns_if_needed(self):
        super()._set_signature_columns_if_needed()
        self._signature_columns = list({*self._signature_columns, "weight"})

    def compute_loss(self, model, inputs, *args, **options):
        weight, outputs = inputs.pop("weight"), []
        hook = model.register_forward_hook(lambda _model, _inputs, output: outputs.append(output))
        super().compute_loss(model, inputs, *args, **options)
        hook.remove()
        reference = torch.cat([inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]])
        ratios = outputs[0].log_probs.sum(dim=1) - reference
        if self.loss_types == ["sigmoid_norm"]:
            ratios = ratios / inputs["completion_mask"].sum(dim=1).clamp(min=1)
        chosen, rejected = ratios.chunk(2)
        losses = -logsigmoid(self.beta * (chosen - rejected))
        return (weight * losses).mean() / self.mean_weight


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", required=True, help="model folder that DPO starts from")
    parser.add_argument("--output", default=str(HERE / "checkpoint"))
    parser.add_argument("--micro-batch", type=int, default=1, help="pairs per forward and process")
    given = parser.parse_args()
    settings = json.loads((HERE / "settings.json").read_text(encoding="utf-8"))
    pairs = load_dataset("json", data_files=str(HERE / "pairs.jsonl"), split="train")
    weighted = "weight" in pairs.column_names
    pairs = pairs.filter(lambda pair: pair["weight"] > 0) if weighted else pairs
    trainer = (WeightedTrainer if weighted else DPOTrainer)(
        model=AutoModelForCausalLM.from_pretrained(given.reference, dtype=torch.float32),
        processing_class=AutoTokenizer.from_pretrained(given.reference),
        args=config(settings, len(pairs), given.output, given.micro_batch),
        train_dataset=pairs,
        peft_config=low_rank(settings),
    )
    trainer.train()
    if settings["method"] == "lora":
        trainer.model = trainer.accelerator.unwrap_model(trainer.model).merge_and_unload()
    trainer.save_model(given.output)


def config(settings: dict, n_pairs: int, output: str, micro_batch: int) -> DPOConfig:
    on_gpu = torch.cuda.is_available()
    halved = on_gpu and settings["precision"] != "float32"
    os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16" if halved else "no"  # not as launched
    share = settings["batch_size"] // PartialState(cpu=not on_gpu).num_processes
    steps = math.ceil(n_pairs * settings["epochs"] / settings["batch_size"])
    return DPOConfig(
        output_dir=output,
        loss_type=[settings["loss_type"]],
        beta=settings["beta"],
        learning_rate=settings["learning_rate"],
        lr_scheduler_type=SCHEDULERS[settings["scheduler"]],
        warmup_steps=math.ceil(steps * settings["warmup_ratio"]),
        weight_decay=settings["weight_decay"],
        max_grad_norm=settings["max_grad_norm"],
        num_train_epochs=settings["epochs"],
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=max(1, share // micro_batch),
        max_length=settings["max_length"],
        precompute_ref_log_probs=True,
        seed=settings["seed"],
        use_cpu=not on_gpu,
        bf16=halved,
        activation_checkpointing=on_gpu,
        logging_first_step=True,
        save_steps=math.ceil(steps / settings["checkpoints"]),
        save_total_limit=2,
        report_to="none",
    )


def low_rank(settings: dict):
    if settings["method"] != "lora":
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=settings["lora_r"],
        lora_alpha=settings["lora_alpha"],
        lora_dropout=settings["lora_dropout"],
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


if __name__ == "__main__":
    main()
