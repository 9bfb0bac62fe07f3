"""Names for content: SHA-256 of files and of model folders.

A fingerprint is kept in memory per (path, size, modification time), so that a file is read once
per process, not once per question. That of a large file is also kept in the workspace's cache: a
14 GB checkpoint is read once, not once per command.

What a run's files were when it finished, so that a later change is found.

    runs/<step>-<hash>/SHA256SUMS   one line a file, as `sha256sum --check` reads it

Covers `output/` and `spec.json`, and is written before the output is published. Shards are left
out, since each has a checksum of its own (core.attribution.index), and may lie elsewhere. So are
`progress.jsonl` and `log.txt`, which say how a run went and not what it found. Files of an earlier
version cover no `spec.json`. Does not know what is in the files.
"""

import hashlib
import re
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from core.data.readers import files
from core.environment import default_workspace
from core.errors import UserError
from core.models.folder import ADAPTER_CONFIG, CONFIG, ModelFolder
from core.storage.atomic import sweep, write_atomic
from core.storage.parse import toml_file

LARGE = 1 << 26  # bytes, from which a fingerprint is kept on disk: a twentieth of a second to read
SETTLED = 2_000_000_000  # ns: a file that changed later may change again and look the same
SETTINGS = (
    *(CONFIG, ADAPTER_CONFIG),
    *("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"),
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
    model = ModelFolder(folder)
    if model.is_adapter:
        base = fingerprint_model(model.base.path)
        return hashlib.sha256(f"{base}:{_parts(model)}".encode()).hexdigest()
    if not (folder / CONFIG).is_file():
        raise UserError(
            f"{folder}: not a model folder (config.json is missing). If it was moved, put it back, "
            "or correct its path in project.toml."
        )
    return hashlib.sha256(_parts(model).encode()).hexdigest()


def same_weights(left: ModelFolder, right: ModelFolder) -> bool:
    """Whether two models have equal files of weights; they are read only where sizes agree."""
    ours, theirs = left.weights, right.weights
    if [file.stat().st_size for file in ours] != [file.stat().st_size for file in theirs]:
        return False
    return [*map(_part, ours)] == [*map(_part, theirs)]


def _parts(model: ModelFolder) -> str:
    others = [file for file in model.path.iterdir() if file.name in SETTINGS]
    if model.names_code:
        others += model.path.glob("*.py")
    return "".join(_part(file) for file in sorted([*model.weights, *others]))


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
            write_atomic(note, f"{before} {digest}")
    return digest


def _stamp(path: Path) -> str:
    """What changes whenever a file does: ctime too, which no tool can set back."""
    status = path.stat()
    return f"{status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def sha256(path: Path) -> str:
    """Of a file's bytes as they are now, hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


NAME = "SHA256SUMS"
SPEC = "spec.json"
LINE = re.compile(r"([0-9a-f]{64})  (spec\.json|output/.+)")


def write(output: Path, folder: Path) -> None:
    """Write down the files of a run, whose `output` is, or is about to be, `folder/output`."""
    files = {f"output/{name}": output / name for name in _names(output)}
    if (folder / SPEC).is_file():
        files[SPEC] = folder / SPEC
    write_atomic(folder / NAME, "".join(f"{sha256(at)}  {name}\n" for name, at in files.items()))


def seal(folder: Path) -> bool:
    """Write down what a finished run's files are now; False where that was done before.

    What changed until then stays unknown, and what is written down is never written anew: a
    change would be sealed with it.
    """
    if (folder / NAME).exists():
        return False
    write(folder / "output", folder)
    return True


def problems(folder: Path) -> dict[str, str] | None:
    """What is wrong with a run, by file in its folder; None where nothing says what they were."""
    path = folder / NAME
    if not path.is_file():
        return None
    known, found = _read(path), {f"output/{name}" for name in _names(folder / "output")}
    found |= {SPEC} if SPEC in known and (folder / SPEC).is_file() else set()
    wrong = {name: "missing" for name in known if name not in found}
    wrong |= dict.fromkeys(found - set(known), "was not there when the run finished")
    for name in found & set(known):
        if sha256(folder / name) != known[name]:
            wrong[name] = "its bytes are not those that were written"
    return dict(sorted(wrong.items()))


def _names(output: Path) -> list[str]:
    files = (path.relative_to(output) for path in output.rglob("*") if path.is_file())
    return sorted(str(name) for name in files if name.parts[0] != "shards")


def _read(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    parts = [LINE.fullmatch(line) for line in lines]
    if not lines or None in parts:
        raise UserError(
            f"{path}: damaged, so nothing says what the run's files were. Delete the run and run "
            "it again, or delete this file to do without."
        )
    return {part[2]: part[1] for part in parts if part}
