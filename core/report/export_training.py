"""A folder from which an arm can be trained on another machine, without PairTrace.

It holds the arm's pairs as TRL and open-instruct read them, a script for TRL that takes every
knob of the train spec, launch settings for accelerate, and a README with commands and provenance.
What comes back is a model folder (`pairtrace elsewhere import`). Knows nothing of how training
works here: the script is TRL's own way of doing the same.
"""

import json
import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from core.errors import UserError
from core.runs.store import Store
from core.specs.project import Project
from core.specs.steps import TrainSpec
from core.storage.atomic import write_atomic
from core.storage.tables import data_frame

LAUNCH = Path(__file__).parents[2] / "assets" / "launch"
SETTINGS = ("one_gpu.yaml", "fsdp2.yaml", "deepspeed_zero3.yaml")
LOSSES = {"sigmoid": "dpo", "sigmoid_norm": "dpo_norm"}


def export_training(store: Store, project: Project, edit: str, out: Path, *, seed: int) -> Path:
    """Write the folder of an edit run's arm. `UserError` where `out` exists: nothing is lost."""
    if out.exists():
        raise UserError(f"{out} exists already. Choose another name, or delete it first.")
    pairs = data_frame(store.pairs(edit))
    spec = project.train(edit, seed)
    part = out.with_name(f"{out.name}.{os.getpid()}.part")
    part.mkdir(parents=True)
    try:
        _write_pairs(part, pairs)
        knobs = spec.model_dump(exclude={"reference", "pairs", "checkpoint"})
        write_atomic(part / "knobs.json", json.dumps(knobs, indent=2) + "\n")
        write_atomic(part / "edit.json", json.dumps(store.record(edit), indent=2) + "\n")
        for name in ("train.py", *SETTINGS):
            shutil.copy2(LAUNCH / name, part / name)
        write_atomic(part / "README.md", _readme(spec, edit, len(pairs), store))
        os.replace(part, out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return out


def _write_pairs(folder: Path, pairs: pd.DataFrame) -> None:
    """As conversations: TRL wants the prompt apart, open-instruct in front of both completions."""
    for name, rows in (("pairs.jsonl", _for_trl(pairs)), ("open_instruct.jsonl", _whole(pairs))):
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_atomic(folder / name, "".join(lines))


def _for_trl(pairs: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for uid, prompt, chosen, rejected in _texts(pairs):
        yield {
            "uid": uid,
            "prompt": [_turn("user", prompt)],
            "chosen": [_turn("assistant", chosen)],
            "rejected": [_turn("assistant", rejected)],
        }


def _whole(pairs: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for uid, prompt, chosen, rejected in _texts(pairs):
        asked = _turn("user", prompt)
        yield {
            "uid": uid,
            "chosen": [asked, _turn("assistant", chosen)],
            "rejected": [asked, _turn("assistant", rejected)],
        }


def _texts(pairs: pd.DataFrame) -> Iterator[tuple[str, str, str, str]]:
    columns = ["uid", "prompt", "chosen", "rejected"]
    return pairs[columns].itertuples(index=False, name=None)


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _readme(spec: TrainSpec, edit: str, n_pairs: int, store: Store) -> str:
    imported = ["pairtrace", "--workspace", str(store.workspace), "elsewhere", "import"]
    imported += ["checkpoint", "--edit", edit, "--seed", str(spec.seed)]
    settings = "".join(
        f"accelerate launch --config_file {name} train.py --reference REFERENCE\n"
        for name in SETTINGS
    )
    return (
        f"# Train one arm elsewhere\n\n{n_pairs} pairs of `{edit}`, seed {spec.seed}. REFERENCE is "
        f"the model folder that DPO starts from; here it was `{spec.reference}`.\n\n"
        f"## TRL\n\nOn one GPU, on eight with FSDP2, or on eight with DeepSpeed:\n\n"
        f"```\npip install trl accelerate peft\n{settings}```\n\n"
        "Every knob is in `knobs.json`. `--micro-batch` sets how many pairs go through at once.\n\n"
        "## open-instruct\n\nFrom a checkout of open-instruct (versions before 2026 call the "
        "options `--dataset_mixer_list`, `--dpo_loss_type`, `--dpo_beta`, `--num_train_epochs`):"
        f"\n\n```\n{_open_instruct(spec)}\n```\n\n"
        "## Back again\n\nThe checkpoint must keep the reference's architecture and tokenizer:\n\n"
        f"```\n{shlex.join(imported)}\n```\n\n"
        "## Provenance\n\n`edit.json` holds the recipes, the reasons, and the fingerprints of what "
        "the pairs were made from.\n"
    )


def _open_instruct(spec: TrainSpec) -> str:
    options = {
        "model_name_or_path": "REFERENCE",
        "tokenizer_name": "REFERENCE",
        "mixer_list": "open_instruct.jsonl 1.0",
        "output_dir": "checkpoint",
        "loss_type": LOSSES[spec.loss_type],
        "beta": f"{spec.beta:g}",
        "learning_rate": f"{spec.learning_rate:g}",
        "lr_scheduler_type": spec.scheduler,
        "warmup_ratio": f"{spec.warmup_ratio:g}",
        "weight_decay": f"{spec.weight_decay:g}",
        "num_epochs": f"{spec.epochs:g}",
        "max_seq_length": str(spec.max_length),
        "per_device_train_batch_size": "1",
        "gradient_accumulation_steps": str(max(1, spec.batch_size // 8)),
        "seed": str(spec.seed),
    }
    words = " \\\n    ".join(f"--{name} {value}" for name, value in options.items())
    return (
        "accelerate launch --mixed_precision bf16 --num_processes 8 --use_deepspeed \\\n"
        "    --deepspeed_config_file configs/ds_configs/stage3_no_offloading_accelerate.conf \\\n"
        f"    open_instruct/dpo_tune_cache.py \\\n    {words}"
    )
