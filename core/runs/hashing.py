"""Hashes: fingerprints of a run's inputs, and checksums of its files.

A fingerprint names the content of a file, a model folder or a judge by SHA-256. It is kept in
memory by path, size and modification time, and for large files in the workspace's cache, so a 14 GB
checkpoint is read once, not once per command.

Checksums show whether a finished run's files have changed:

    runs/<step>-<hash>/SHA256SUMS   one line per file, as `sha256sum --check` reads it

They cover `output/` and, except in older runs, `spec.json`. Shards have checksums of their own
(core.attribution.index) and may be elsewhere; `progress.jsonl` and `log.txt` are no results.
"""

import filecmp
import hashlib
import re
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from core.data import canonical
from core.data.readers import files
from core.environment import default_workspace
from core.errors import UserError
from core.models.folder import ADAPTER_CONFIG, CONFIG, ModelFolder
from core.storage.atomic import sweep, write_atomic
from core.storage.parse import toml_file

LARGE = 1 << 26  # bytes, from which a fingerprint is cached on disk: 0.05 s to read
SETTLED = 2_000_000_000  # ns: a file that changed since may change again within one time stamp
SETTINGS = (
    *(CONFIG, ADAPTER_CONFIG),
    *("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"),
)
CHECKSUMS = "SHA256SUMS"
SPEC = "spec.json"
LINE = re.compile(r"([0-9a-f]{64})  (spec\.json|output/.+)")


def fingerprint_file(path: Path) -> str:
    """SHA-256 of a file's bytes, or over the data files of a folder, as hex."""
    if path.is_dir():
        parts = "".join(f"{file.name}:{fingerprint_file(file)}\n" for file in files(path))
        return hashlib.sha256(parts.encode()).hexdigest()
    if not path.is_file():
        raise UserError(f"{path}: no such file. Check the path in the spec or in project.toml.")
    status = path.stat()
    return _hash(path, status.st_size, status.st_mtime_ns)


def fingerprint_model(folder: Path) -> str:
    """SHA-256 over a model folder's weights, configuration, tokenizer and code, as hex.

    That of an adapter covers its files and its base.
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
    """Whether two models have equal files of weights; read up to the first difference."""
    ours, theirs = left.weights, right.weights
    return [file.name for file in ours] == [file.name for file in theirs] and all(
        filecmp.cmp(*files, shallow=False) for files in zip(ours, theirs, strict=True)
    )


def _parts(model: ModelFolder) -> str:
    others = [file for file in model.path.iterdir() if file.name in SETTINGS]
    if model.names_code:
        others += model.path.glob("*.py")
    return "".join(_part(file) for file in sorted([*model.weights, *others]))


def _part(file: Path) -> str:
    return f"{file.name}:{fingerprint_file(file)}\n"


def fingerprint_judge(path: Path) -> str:
    """SHA-256 of a world file or judge file, of the classifier and the module that it names."""
    digest = fingerprint_file(path)
    for table, key, fingerprint in (
        ("classifier", "model", fingerprint_model),
        ("python", "module", fingerprint_file),
    ):
        if (name := _named(path, digest, table, key)) is not None:
            part = fingerprint((path.parent / name).resolve())
            digest = hashlib.sha256(f"{digest}:{part}".encode()).hexdigest()
    return digest


def weighted(pairs: Path) -> bool:
    """Whether a pairs file has weights; a file that cannot be read has none."""
    return pairs.exists() and _weighted(pairs, fingerprint_file(pairs))


@lru_cache(maxsize=64)
def _weighted(pairs: Path, _digest: str) -> bool:
    with suppress(UserError):
        return canonical.weighted(pairs)
    return False


@lru_cache(maxsize=64)
def _named(path: Path, digest: str, table: str, key: str) -> str | None:
    """The model or module that a world or judge file of this digest names."""
    try:
        content = toml_file(path).get(table)
    except UserError:
        return None  # loading the judge raises it again
    name = content.get(key) if isinstance(content, dict) else None
    return name if isinstance(name, str) else None


@lru_cache(maxsize=1024)
def _hash(path: Path, size: int, modified: int) -> str:
    return _cached(path) if size >= LARGE else sha256(path)


def _cached(path: Path) -> str:
    """The fingerprint of a large file, from the cache if the file has not been touched since."""
    name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()
    entry = default_workspace() / "cache" / "fingerprints" / name
    before = _stamp(path)
    with suppress(OSError, ValueError):
        stamp, digest = entry.read_text(encoding="ascii").rsplit(" ", 1)
        if stamp == before and re.fullmatch(r"[0-9a-f]{64}", digest):
            return digest
    digest = sha256(path)
    touched = max(path.stat().st_mtime_ns, path.stat().st_ctime_ns)
    if _stamp(path) == before and time.time_ns() - touched > SETTLED:
        with suppress(OSError):  # a read-only workspace: the file is read again
            sweep(entry.parent)
            write_atomic(entry, f"{before} {digest}")
    return digest


def _stamp(path: Path) -> str:
    """What changes with a file; no tool can reset its ctime."""
    status = path.stat()
    return f"{status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def sha256(path: Path) -> str:
    """SHA-256 of a file's current bytes, as hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_checksums(output: Path, folder: Path) -> None:
    """Write the checksums of a run, whose `output` is, or will be, `folder/output`."""
    files = {f"output/{name}": output / name for name in _names(output)}
    if (folder / SPEC).is_file():
        files[SPEC] = folder / SPEC
    write_atomic(
        folder / CHECKSUMS, "".join(f"{sha256(at)}  {name}\n" for name, at in files.items())
    )


def seal(folder: Path) -> bool:
    """Write the checksums of a finished run; False where there are some.

    Existing checksums are never replaced, which would hide a change.
    """
    if (folder / CHECKSUMS).exists():
        return False
    write_checksums(folder / "output", folder)
    return True


def problems(folder: Path) -> dict[str, str] | None:
    """File of a run → what is wrong with it; None where there are no checksums."""
    path = folder / CHECKSUMS
    if not path.is_file():
        return None
    sums, names = _read(path), {f"output/{name}" for name in _names(folder / "output")}
    names |= {SPEC} if SPEC in sums and (folder / SPEC).is_file() else set()
    wrong = dict.fromkeys(sums.keys() - names, "missing")
    wrong |= dict.fromkeys(names - sums.keys(), "was not there when the run finished")
    for name in names & sums.keys():
        if sha256(folder / name) != sums[name]:
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
            f"{path}: damaged. Delete the run and run it again, or delete this file to go without "
            "checksums."
        )
    return {part[2]: part[1] for part in parts if part}
