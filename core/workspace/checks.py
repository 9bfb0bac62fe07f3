"""Checks of a new project's inputs, before anything runs: paths, models, pairs.

`check_project` makes all checks of a project, those of `measurable` included; the Set up page makes
the same ones, each as soon as its part is filled in. Each check returns facts to show, or raises
`UserError` that says what to do. No model is loaded. `roots` are the folders that paths must be in,
so that users of a shared app cannot read the rest of the machine through it; no roots: anywhere.
"""

import filecmp
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from core.data import quality
from core.data.completions import read_examples
from core.data.conditions import Condition
from core.data.prompts import read_group
from core.errors import UserError
from core.models import gguf
from core.models.folder import CONFIG, ModelFolder, check_takes_system_prompts, similarity
from core.models.memory import Shape
from core.runs import hashing
from core.specs.behaviors import Contrast
from core.specs.project import Project
from core.specs.steps import is_run
from core.storage.atomic import sweep, write_atomic
from core.storage.parse import json_file
from core.workspace import measurable

MODELS = ("reference", "policy")
UPLOADS = "inputs"  # folder of the workspace
ROWS = 50  # of the pairs, that are looked at
DPO = re.compile(r"(?i)(?<![a-z])dpo(?![a-z])")
HUB_NAME = re.compile(r"[A-Za-z0-9][\w-]*/[\w.-]+")
RELATED = 0.5  # similarity; .995 and more after DPO, 0 of models that were trained apart
LONGEST_NAME = 200  # bytes of an uploaded file's name; most file systems take 255


@dataclass(frozen=True)
class ModelFacts:
    """Family, size and shape of a model, from its config.json and files."""

    kind: str
    shape: Shape

    @property
    def blocks(self) -> int:
        """Decoder blocks."""
        return self.shape.blocks

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.shape.d_model

    @property
    def parameters(self) -> int:
        """Weights in all."""
        return self.shape.parameters


def allowed_path(text: str, roots: Sequence[Path]) -> Path:
    """An existing path in one of the roots."""
    if not text.strip() or "\0" in text:
        raise UserError("Give a path.")
    try:
        path = Path(text.strip().strip("'\"")).expanduser().resolve(strict=True)
    except (OSError, RuntimeError, UnicodeError) as error:
        hint = f" If it is on a hub: pairtrace fetch {text}" if HUB_NAME.fullmatch(text) else ""
        raise UserError(f"{text}: no such file or folder.{hint}") from error
    if roots and not any(path.is_relative_to(root.resolve()) for root in roots):
        allowed = ", ".join(map(str, roots))
        raise UserError(f"{text}: not in a folder that this app may read. It may read {allowed}.")
    return path


def keep_upload(name: str, content: bytes, workspace: Path) -> Path:
    """Write an uploaded file into the workspace under the last part of its name.

    Where a file with other content has that name, which a project may use, its hash is added.
    """
    plain = "".join(c for c in Path(name.replace("\\", "/")).name if c.isalnum() or c in "._-")
    if not plain.strip("."):
        raise UserError(f"{name!r} is not a name for a file. Rename it.")
    if len(os.fsencode(plain)) > LONGEST_NAME:
        raise UserError(f"{plain[:40]}…: the name is longer than {LONGEST_NAME} bytes. Rename it.")
    path = workspace / UPLOADS / plain
    if path.is_file() and path.read_bytes() != content:
        path = path.with_name(f"{sha256(content).hexdigest()[:8]}-{plain}")
    if not path.is_file():
        sweep(path.parent)
        write_atomic(path, content)
    return path


def model_facts(folder: Path, roots: Sequence[Path] = ()) -> ModelFacts:
    """Family, shape and size of a model; of an adapter, those of its base in one of the roots.

    `UserError` if weights, tokenizer or chat template are missing, or the weights are quantized.
    """
    model = ModelFolder(base_of(folder, roots) or folder)
    config, shape = _shape(model), Shape.of(model)
    if not model.has_tokenizer:
        raise UserError(f"{model.path}: has no tokenizer (tokenizer.json).")
    if not model.has_chat_template:
        raise UserError(
            f"{model.path}: has no chat template. Add chat_template.jinja to the folder."
        )
    return ModelFacts(str(config.get("model_type", "unknown")), shape)


def base_of(policy: Path, roots: Sequence[Path] = ()) -> Path | None:
    """The folder of an adapter's base, in one of the roots; None for a complete model."""
    model = ModelFolder(policy)
    return allowed_path(str(model.base.path), roots) if model.is_adapter else None


def check_project(project: Project, workspace: Path) -> Project:
    """The project, with model folders in place of GGUF files, dequantised into the workspace.

    `UserError` for the first input that is missing, unusable, or does not fit the others. Cheap
    checks come first; weights are read last.
    """
    if project.policy and project.prompts and project.heldout:
        measurable.check_measurable(project)
    for contrast in project.contrasts:
        check_contrast(project, contrast)
    if not is_run(project.pairs):
        check_pairs(Path(project.pairs))
    models = [name for name in MODELS if getattr(project, name)]
    files = {name: gguf.gguf_file(Path(getattr(project, name))) for name in models}
    folders = {
        name: str(gguf.dequantised(file, workspace / UPLOADS))
        for name, file in files.items()
        if file
    }
    project = project.model_copy(update=folders)
    if project.policy:
        check_models(Path(project.reference), Path(project.policy))
    else:
        model_facts(Path(project.reference))
    check_system_prompts(project.conditions, [Path(getattr(project, name)) for name in models])
    return project


def with_contrast(project: Project, contrast: Contrast) -> Project:
    """The project with a contrast, in place of one of its name."""
    if any(behavior.name == contrast.name for behavior in project.behaviors):
        raise UserError(f"{contrast.name!r} is a behavior already. Choose another name.")
    others = tuple(other for other in project.contrasts if other.name != contrast.name)
    return project.model_copy(update={"contrasts": (*others, contrast)})


def check_contrast(project: Project, contrast: Contrast) -> None:
    """`UserError` where a behavior's examples, or the prompts for its sentence, cannot be used."""
    spec = project.contrast(contrast)
    if spec.examples is not None:
        read_examples(Path(spec.examples))
    else:
        read_group(spec.prompts or "", spec.group)
    measurable.check_kept(contrast, spec.judge)


def check_system_prompts(conditions: Sequence[Condition], models: Iterable[Path]) -> None:
    """`UserError` where a condition has a system prompt, and the template of a model has none."""
    if any(condition.system for condition in conditions):
        for model in models:
            check_takes_system_prompts(model)


def check_pairs(path: Path, columns: Mapping[str, str] | None = None) -> None:
    """`UserError` where none of the first rows is a usable pair."""
    preview = quality.preview(path, columns, ROWS)
    if len(preview.pairs):
        return
    if preview.skipped.empty:
        raise UserError(f"{path}: contains no rows. Give a file with preference pairs.")
    first = preview.skipped.iloc[0]
    raise UserError(
        f"{path}: none of its first {len(preview.skipped)} rows is a usable pair. Row "
        f"{first['row']}, field {first['field']!r}: {first['reason']}. It has the columns "
        f"{', '.join(preview.columns)}; where they have other names, say which is which with "
        "`pairtrace data import --map chosen=COLUMN`, or on the Set up page."
    )


def check_models(reference: Path, policy: Path, roots: Sequence[Path] = ()) -> None:
    """`UserError` unless the policy may have been trained from the reference by DPO.

    Both have the same family, shape and vocabulary, and similar weights that are not the same.
    """
    before, after = (model_facts(folder, roots) for folder in (reference, policy))
    for name, what in (("kind", "family"), ("blocks", "blocks"), ("d_model", "width")):
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            raise UserError(
                f"Reference and policy differ in {what} ({old}, {new}). "
                "Choose the model that the policy was trained from as reference."
            )
    models = [ModelFolder(folder) for folder in (reference, policy)]
    if models[0].was_trained_from(policy):
        raise UserError(
            f"{reference}: its files name the policy, {policy}, as the model that it was trained "
            "from. Swap reference and policy."
        )
    if reference.resolve() == policy.resolve() or _same_model(*models):
        raise UserError(
            f"{reference} and {policy} have the same weights: nothing changed between them. "
            "Choose the model before preference training as reference, the one after as policy."
        )
    folders = [base_of(folder, roots) or folder for folder in (reference, policy)]
    _check_vocabularies(*folders)
    if (cosine := similarity(*map(ModelFolder, folders))) < RELATED:
        raise UserError(
            f"{policy} was not trained from {reference}: their weights have a cosine of "
            f"{cosine:.2f} (.99 or more after preference training). Choose the model that the "
            "policy was trained from as reference."
        )


def model_warnings(reference: Path, policy: Path) -> list[str]:
    """Possible problems of two models that can be used, in sentences."""
    warnings = [
        f"{folder} names its own Python code. Jobs of the browser never run it: if a step refuses "
        "the model, run that step in a terminal as `pairtrace --trust-remote-code …`."
        for folder in dict.fromkeys((reference, policy))
        if ModelFolder(folder).names_code
    ]
    base = base_of(policy)
    if base is not None and reference.is_dir() and not _is_base(base, reference, policy):
        warnings.append(
            f"The policy's adapter was trained from {base}, whose weights are "
            "not the reference's. Measured changes will include that difference."
        )
    rounded = [folder for folder in (reference, policy) if gguf.is_dequantised(folder)]
    if len(rounded) == 1:
        warnings.append(
            f"{rounded[0]} was dequantised from a GGUF file, the other model was not. Measured "
            "changes will include what quantisation did."
        )
    if _names_dpo(reference) and not _names_dpo(policy):
        warnings.append(
            f"{reference} is named or described as trained by DPO, {policy} is not. If the two are "
            "swapped, every change is reported the wrong way round."
        )
    return warnings


def _names_dpo(folder: Path) -> bool:
    """Whether a folder's name or the beginning of its model card contains the word DPO."""
    return any(DPO.search(text) for text in (folder.name, ModelFolder(folder).card))


def _same_model(reference: ModelFolder, policy: ModelFolder) -> bool:
    """Whether both are the same weights, of a model or of updates to the same base."""
    if reference.is_adapter != policy.is_adapter:
        return False
    same_base = reference.base.path == policy.base.path or not reference.is_adapter
    return same_base and hashing.same_weights(reference, policy)


def _check_vocabularies(reference: Path, policy: Path) -> None:
    """`UserError` where two tokenizers give tokens different numbers; added tokens may differ."""
    old, new = (folder / "tokenizer.json" for folder in (reference, policy))
    if not (old.is_file() and new.is_file()) or filecmp.cmp(old, new, shallow=False):
        return
    before, after = map(_vocabulary, (old, new))
    if before != after:
        raise UserError(
            f"Reference and policy have different vocabularies: {old} has {len(before):,} tokens, "
            f"{new} has {len(after):,}, not the same ones. Choose the model that the policy was "
            "trained from as reference."
        )


def _vocabulary(tokenizer: Path) -> Any:
    model = content.get("model") if isinstance(content := json_file(tokenizer), dict) else None
    return (model.get("vocab") if isinstance(model, dict) else None) or []


def _is_base(base: Path, reference: Path, policy: Path) -> bool:
    model = ModelFolder(reference)
    if model.is_adapter:
        return ModelFolder(policy).begins_with(model)
    return base == reference.resolve() or hashing.same_weights(ModelFolder(base), model)


def _shape(model: ModelFolder) -> dict[str, Any]:
    """The part of the settings that names the language model's blocks and width."""
    config = model.config.get("text_config", model.config)
    for name in ("num_hidden_layers", "hidden_size"):
        size = config.get(name) if isinstance(config, dict) else None
        if not isinstance(size, int) or size < 1:
            raise UserError(f"{model.path / CONFIG}: does not name {name}, a whole number.")
    return dict(config)
