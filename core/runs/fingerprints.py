"""Names for content: SHA-256 of files and of model folders.

A fingerprint is kept in memory per (path, size, modification time), so that a file is read once
per process, not once per question. That of a large file is also kept in the workspace's cache: a
14 GB checkpoint is read once, not once per command.
"""

import hashlib
import re
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from core.data.notation import toml_file
from core.data.records import files
from core.data.whole import sweep, write_whole
from core.errors import UserError
from core.models import adapters
from core.runs.environment import default_workspace

LARGE = 1 << 26  # bytes, from which a fingerprint is kept on disk: a twentieth of a second to read
SETTLED = 2_000_000_000  # ns: a file that changed later may change again and look the same
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
        raise UserError(
            f"{folder}: not a model folder (config.json is missing). If it was moved, put it back, "
            "or correct its path in project.toml."
        )
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
    named = _classifier(path, own)
    if named is None:
        return own
    model = fingerprint_model((path.parent / named).resolve())
    return hashlib.sha256(f"{own}:{model}".encode()).hexdigest()


@lru_cache(maxsize=64)
def _classifier(path: Path, own: str) -> str | None:
    """The model that a world or judge file names; `own` is what the file holds, read once."""
    try:
        named = toml_file(path).get("classifier")
    except UserError:
        return None  # whoever loads the judge says what is wrong with it
    model = named.get("model") if isinstance(named, dict) else None
    return model if isinstance(model, str) else None


@lru_cache(maxsize=1024)
def _hash(path: Path, size: int, modified: int) -> str:
    return _kept(path) if size >= LARGE else sha256(path)


def _kept(path: Path) -> str:
    """The fingerprint of a large file: from the cache if nothing touched the file since."""
    name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()
    note = default_workspace() / "cache" / "fingerprints" / name
    before = _stamp(path)
    with suppress(OSError, ValueError):
        stamp, digest = note.read_text(encoding="ascii").rsplit(" ", 1)
        if stamp == before and re.fullmatch(r"[0-9a-f]{64}", digest):
            return digest
    digest = sha256(path)
    touched = max(path.stat().st_mtime_ns, path.stat().st_ctime_ns)
    if _stamp(path) == before and time.time_ns() - touched > SETTLED:
        with suppress(OSError):  # whoever may only look on reads the file again
            sweep(note.parent)
            write_whole(note, f"{before} {digest}")
    return digest


def _stamp(path: Path) -> str:
    """What changes whenever a file does: ctime too, which no tool can set back."""
    status = path.stat()
    return f"{status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def sha256(path: Path) -> str:
    """Of a file's bytes as they are now, hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
