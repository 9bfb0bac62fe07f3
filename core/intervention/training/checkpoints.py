"""Training checkpoints: checksums, disk space asked for before they are written, and import.

The last file of a checkpoint lists the SHA-256 of all the others, as `sha256sum` does. A checkpoint
without it was cut off, one that disagrees with it is damaged; neither is ever resumed from. A
library that fills the disk fails halfway through a file. So the bytes that a checkpoint needs are
computed from the model, and a training that would not fit stops where its last checkpoint is
complete. Other writers can still fill the disk in between.

A checkpoint from elsewhere becomes an arm's result where it is the reference retrained: same
architecture, same tokenizer, other weights, all finite. Whether it was trained on the pairs that
its spec names cannot be checked: `summary.json` marks it as imported.
"""

import logging
import shutil
from pathlib import Path
from typing import Any

import torch

from core import environment
from core.data.tokens import template_hash
from core.errors import UserError
from core.models.folder import SMOLLM2, ModelFolder
from core.models.loading import LoadedModel, load_model
from core.runs.hashing import fingerprint_model, sha256
from core.specs.steps import TrainSpec
from core.storage.atomic import write_atomic

SEAL = "whole"  # name of the file with the checksums
MARGIN = 1 << 20  # log, configuration and tokenizer, in bytes
INCIDENTAL = {
    *("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"),
    *("use_cache", "bos_token_id", "eos_token_id", "pad_token_id"),
}
COPIED = (".safetensors", ".json", ".jinja", ".model", ".txt", ".py")  # never a pickle
LEFT_OUT = ("trainer_state", "all_results", "train_results")


def seal(folder: Path) -> None:
    """Write the checksums of a checkpoint that is complete."""
    write_atomic(folder / SEAL, _checksums(folder))


def last_complete(folder: Path) -> Path | None:
    """The newest complete checkpoint; newer ones, cut off or damaged, are deleted."""
    checkpoints = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    for path in reversed(checkpoints):
        if (path / SEAL).is_file() and (path / SEAL).read_bytes() == _checksums(path).encode():
            return path
        logging.getLogger(__name__).warning("%s was cut off or damaged, and is deleted", path.name)
        shutil.rmtree(path)
    return None


def bytes_needed(model: Any, spec: TrainSpec) -> int:
    """Bytes of one checkpoint and of the trained model.

    A checkpoint contains the trained weights in float32 and two moments of each; the model
    contains all weights.
    """
    weights = trained = sum(parameter.numel() for parameter in model.parameters())
    if spec.method == "lora":  # rank × (inputs + outputs) per matrix
        trained = spec.lora_r * sum(sum(p.shape) for p in model.parameters() if p.dim() == 2)
    return 4 * (3 * trained + weights) + MARGIN


def refuse_full_disk(folder: Path, needed: int) -> None:
    """Raises `UserError` where a folder's disk has fewer than `needed` free bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder}: the disk is full: {free / 2**20:,.1f} MiB are free and "
            f"{needed / 2**20:,.1f} MiB are needed. Free some, then start the run again: "
            "it resumes from its last checkpoint."
        )


def import_checkpoint(checkpoint: Path, reference: Path, output: Path) -> dict[str, Any]:
    """Copy a model folder to `output/model`; return the content of `summary.json`.

    An adapter is merged into its base, unless that is SmolLM2, which is found by its name.
    Raises `UserError` for another architecture or tokenizer, for weights that are missing, not
    finite, or still those of the reference.
    """
    made, before = (
        load_model(folder, dtype="float32", device="cpu") for folder in (checkpoint, reference)
    )
    _refuse_other_architecture(checkpoint, made, before)
    _refuse_other_tokenizer(checkpoint, made, before)
    moved = _largest_change(checkpoint, made, before)
    model = output / "model"
    model.mkdir(parents=True, exist_ok=True)
    source = ModelFolder(checkpoint)
    merged = source.is_adapter and source.base.path != environment.model_cache() / SMOLLM2
    if merged:  # its base is a path, which may not outlive the run
        made.model.save_pretrained(model)
        made.tokenizer.save_pretrained(model)
    for path in () if merged else checkpoint.iterdir():
        if path.suffix in COPIED and not path.name.startswith(LEFT_OUT):
            shutil.copy2(path, model / path.name)
    return {
        "imported": True,
        "checkpoint": str(checkpoint),
        "fingerprint": fingerprint_model(model),
        "largest_change": moved,
    }


def _checksums(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SEAL)
    return "".join(f"{sha256(path)}  {path.relative_to(folder)}\n" for path in files)


def _refuse_other_architecture(checkpoint: Path, made: LoadedModel, before: LoadedModel) -> None:
    theirs, ours = (_settings(loaded) for loaded in (made, before))
    differing = [name for name in sorted({*theirs, *ours}) if theirs.get(name) != ours.get(name)]
    if differing:
        name = differing[0]
        raise UserError(
            f"{checkpoint}: another architecture than the reference's: {name} is "
            f"{theirs.get(name)!r}, not {ours.get(name)!r} ({len(differing)} settings differ). "
            "Import a checkpoint that was trained from this reference."
        )


def _refuse_other_tokenizer(checkpoint: Path, made: LoadedModel, before: LoadedModel) -> None:
    theirs, ours = made.tokenizer, before.tokenizer
    if theirs.get_vocab() != ours.get_vocab():
        what = "vocabulary"
    elif not theirs.chat_template or template_hash(theirs) != template_hash(ours):
        what = "chat template"
    else:
        return
    raise UserError(
        f"{checkpoint}: its tokenizer's {what} is not the reference's, so the same prompt would "
        "reach it as other tokens. Copy the reference's tokenizer files into the folder if they "
        "are what it was trained with."
    )


def _largest_change(checkpoint: Path, made: LoadedModel, before: LoadedModel) -> float:
    """Largest absolute change of a single weight, from reference to checkpoint."""
    largest, reference = 0.0, before.model.state_dict()
    for name, weights in made.model.state_dict().items():
        if not torch.isfinite(weights).all():
            raise UserError(f"{checkpoint}: {name} has values that are not finite. Train again.")
        largest = max(largest, float((weights - reference[name]).abs().max()))
    if largest == 0:
        raise UserError(f"{checkpoint}: its weights are the reference's: nothing was trained.")
    return largest


def _settings(loaded: LoadedModel) -> dict[str, Any]:
    """The settings of config.json that define the architecture."""
    settings: dict[str, Any] = loaded.model.config.to_dict()
    return {name: value for name, value in settings.items() if name not in INCIDENTAL}
