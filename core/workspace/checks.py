"""Checks of a new project's inputs, before anything runs.

Each check returns facts to show, or raises `UserError` that says what to do. No model is loaded.
`roots` are the folders that paths must be in, so that users of a shared app cannot read the rest of
the machine through it; no roots: anywhere.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from core.data.prompts import expand, read_prompts
from core.errors import UserError
from core.intervention.evaluation.judges import load_judge
from core.models.folder import CONFIG, ModelFolder
from core.runs import hashing
from core.specs.behaviors import Behavior
from core.specs.project import Project
from core.storage.atomic import sweep, write_atomic

UPLOADS = "inputs"  # folder of the workspace
LONGEST_NAME = 200  # bytes of an uploaded file's name; most file systems take 255


@dataclass(frozen=True)
class ModelFacts:
    """Family, shape and size of a model, from its config.json and files."""

    kind: str
    blocks: int
    d_model: int
    parameters: int
    bytes: int


def allowed_path(text: str, roots: Sequence[Path]) -> Path:
    """An existing path in one of the roots."""
    if not text.strip() or "\0" in text:
        raise UserError("Give a path.")
    try:
        path = Path(text.strip()).expanduser().resolve(strict=True)
    except (OSError, RuntimeError, UnicodeError) as error:
        raise UserError(f"{text}: no such file or folder.") from error
    if roots and not any(path.is_relative_to(root.resolve()) for root in roots):
        allowed = ", ".join(map(str, roots))
        raise UserError(f"{text}: not in a folder that this app may read. It may read {allowed}.")
    return path


def keep_upload(name: str, content: bytes, workspace: Path) -> Path:
    """Write an uploaded file into the workspace under the last part of its name."""
    plain = "".join(c for c in Path(name.replace("\\", "/")).name if c.isalnum() or c in "._-")
    if not plain.strip("."):
        raise UserError(f"{name!r} is not a name for a file. Rename it.")
    if len(os.fsencode(plain)) > LONGEST_NAME:
        raise UserError(f"{plain[:40]}…: the name is longer than {LONGEST_NAME} bytes. Rename it.")
    path = workspace / UPLOADS / plain
    sweep(path.parent)
    write_atomic(path, content)
    return path


def model_facts(folder: Path, roots: Sequence[Path] = ()) -> ModelFacts:
    """Family, shape and size of a model; of an adapter, those of its base in one of the roots.

    `UserError` if weights, tokenizer or chat template are missing, or the weights are quantized.
    """
    model = ModelFolder(base_of(folder, roots) or folder)
    config = _shape(model)
    size = sum(file.stat().st_size for file in model.weights)
    if not model.has_tokenizer:
        raise UserError(f"{model.path}: has no tokenizer (tokenizer.json).")
    if not model.has_chat_template:
        raise UserError(
            f"{model.path}: has no chat template. Add chat_template.jinja to the folder."
        )
    kind = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    return ModelFacts(
        kind=str(config.get("model_type", "unknown")),
        blocks=config["num_hidden_layers"],
        d_model=config["hidden_size"],
        parameters=size // (4 if kind == "float32" else 2),
        bytes=size,
    )


def base_of(policy: Path, roots: Sequence[Path] = ()) -> Path | None:
    """The folder of an adapter's base, in one of the roots; None for a complete model."""
    model = ModelFolder(policy)
    return allowed_path(str(model.base.path), roots) if model.is_adapter else None


def check_pair_of_models(reference: ModelFacts, policy: ModelFacts) -> None:
    """`UserError` unless both have the same family and shape, as before and after DPO."""
    for name, what in (("kind", "family"), ("blocks", "blocks"), ("d_model", "width")):
        before, after = getattr(reference, name), getattr(policy, name)
        if before != after:
            raise UserError(f"Reference and policy differ in {what} ({before}, {after}).")


def model_warnings(reference: Path, policy: Path) -> list[str]:
    """Possible problems of two models that can be used, in sentences."""
    warnings = [
        f"{folder} names its own Python code. Jobs of the browser never run it: if a step refuses "
        "the model, run that step in a terminal as `pairtrace --trust-remote-code …`."
        for folder in dict.fromkeys((reference, policy))
        if ModelFolder(folder).names_code
    ]
    base = base_of(policy)
    if base is not None and reference.is_dir() and not _is_base(base, reference):
        warnings.append(
            f"The policy's adapter was trained from {base}, whose weights are "
            "not the reference's. Measured changes will include that difference."
        )
    return warnings


def _is_base(base: Path, reference: Path) -> bool:
    model = ModelFolder(reference)
    return base == reference.resolve() or (
        not model.is_adapter and hashing.same_weights(ModelFolder(base), model)
    )


def prompt_facts(prompts: Path, heldout: Path, judge: str) -> pd.DataFrame:
    """All that can be measured: `flag, group, condition`, and counts `prompts, heldout`."""
    counts = [
        expand(read_prompts(path)).groupby(["group", "condition"], sort=False).size()
        for path in (prompts, heldout)
    ]
    both = pd.concat(counts, axis=1, keys=["prompts", "heldout"]).fillna(0).astype(int)
    flags = pd.DataFrame({"flag": list(load_judge(judge).flags)})
    return flags.merge(both.reset_index(), how="cross")


def check_measurable(project: Project) -> None:
    """`UserError` unless the judge and both prompt files have what every behavior is measured on.

    Where completions are brought along, the flags may come from their file and are not checked.
    """
    if "completions" not in project.overrides_of("generate"):
        flags = load_judge(project.judge).flags
        for behavior in project.behaviors:
            if behavior.flag not in flags:
                raise UserError(
                    f"behavior {behavior.name!r}: the judge {project.judge!r} gives no flag "
                    f"{behavior.flag!r}. It gives: {', '.join(flags)}."
                )
    for path in (project.prompts, project.heldout):
        prompts = expand(read_prompts(Path(path)))
        cells = set(zip(prompts["group"], prompts["condition"], strict=True))
        for behavior in project.behaviors:
            if (behavior.group, behavior.condition) not in cells:
                listed = ", ".join(f"{group} ({how})" for group, how in sorted(cells))
                raise UserError(
                    f"behavior {behavior.name!r}: {path} has no prompt of group "
                    f"{behavior.group!r} under the condition {behavior.condition!r}. "
                    f"It has: {listed}."
                )


def behaviors_of(rows: Iterable[Mapping[str, Any]]) -> tuple[Behavior, ...]:
    """Behaviors from rows of `prompt_facts` that a user chose and named."""
    behaviors = tuple(
        Behavior(
            name=str(row["name"]).strip(),
            flag=row["flag"],
            group=row["group"],
            condition=row["condition"],
            wanted=bool(row["wanted"]),
        )
        for row in rows
    )
    names = [behavior.name for behavior in behaviors]
    if not behaviors or not all(names) or len(set(names)) < len(names):
        raise UserError("Choose at least one behavior, and give each a different name.")
    return behaviors


def _shape(model: ModelFolder) -> dict[str, Any]:
    """The part of the settings that names the language model's blocks and width."""
    config = model.config.get("text_config", model.config)
    for name in ("num_hidden_layers", "hidden_size"):
        size = config.get(name) if isinstance(config, dict) else None
        if not isinstance(size, int) or size < 1:
            raise UserError(f"{model.path / CONFIG}: does not name {name}, a whole number.")
    return dict(config)
