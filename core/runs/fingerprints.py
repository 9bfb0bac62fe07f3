"""Names for content: SHA-256 of files and of model folders.

A fingerprint is kept per (path, size, modification time), so that a 14 GB checkpoint is read once
per process, not once per question.
"""

import hashlib
from functools import lru_cache
from pathlib import Path

from core.data.notation import toml_file
from core.data.records import files
from core.errors import UserError
from core.models import adapters

WEIGHTS = (".safetensors",)
SETTINGS = (
    "config.json",
    adapters.CONFIG,
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
)


def fingerprint_file(path: Path) -> str:
    """SHA-256 of a file's bytes, or over the data files of a folder, hex."""
    if path.is_dir():
        parts = "".join(f"{file.name}:{fingerprint_file(file)}\n" for file in files(path))
        return hashlib.sha256(parts.encode()).hexdigest()
    if not path.is_file():
        raise UserError(f"{path}: no such file. Check the path in the spec or in project.toml.")
    status = path.stat()
    return _hash(path, status.st_size, status.st_mtime_ns)


def fingerprint_model(folder: Path) -> str:
    """SHA-256 over a model folder's weights, configuration, tokenizer and code, hex.

    An adapter's covers its own files and its base.
    """
    if adapters.is_adapter(folder):
        base = fingerprint_model(adapters.base_of(folder))
        return hashlib.sha256(f"{base}:{_parts(folder)}".encode()).hexdigest()
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: not a model folder (config.json is missing).")
    return hashlib.sha256(_parts(folder).encode()).hexdigest()


def same_weights(one: Path, other: Path) -> bool:
    """Whether two model folders hold the same weights' files; read only where sizes agree."""
    ours, theirs = (
        sorted(file for file in folder.iterdir() if file.suffix in WEIGHTS)
        for folder in (one, other)
    )
    if [file.stat().st_size for file in ours] != [file.stat().st_size for file in theirs]:
        return False
    return [*map(_part, ours)] == [*map(_part, theirs)]


def names_code(folder: Path) -> bool:
    """Whether its settings say that Python code in the folder belongs to the model."""
    settings = (folder / name for name in ("config.json", "tokenizer_config.json"))
    return any(b'"auto_map"' in path.read_bytes() for path in settings if path.is_file())


def _parts(folder: Path) -> str:
    kinds = (*WEIGHTS, ".py") if names_code(folder) else WEIGHTS
    files = sorted(
        file for file in folder.iterdir() if file.suffix in kinds or file.name in SETTINGS
    )
    if not any(file.suffix in WEIGHTS for file in files):
        raise UserError(f"{folder}: holds no .safetensors weights. Other formats are not loaded.")
    return "".join(_part(file) for file in files)


def _part(file: Path) -> str:
    return f"{file.name}:{fingerprint_file(file)}\n"


def fingerprint_judge(path: Path) -> str:
    """SHA-256 of a world file or judge file and, where it names a classifier, of that model."""
    own = fingerprint_file(path)
    try:
        content = toml_file(path)
    except UserError:
        return own  # whoever loads the judge says what is wrong with it
    named = content.get("classifier")
    if not isinstance(named, dict) or not isinstance(named.get("model"), str):
        return own
    model = fingerprint_model((path.parent / named["model"]).resolve())
    return hashlib.sha256(f"{own}:{model}".encode()).hexdigest()


@lru_cache(maxsize=1024)
def _hash(path: Path, size: int, modified: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()
