"""What a run's files were when it finished, so that a later change is found.

    runs/<step>-<hash>/SHA256SUMS   one line a file, as `sha256sum --check` reads it

Covers `output/` and `spec.json`, and is written before the output is published. Shards are left
out, since each has a checksum of its own (core.attribution.index), and may lie elsewhere. So are
`progress.jsonl` and `log.txt`, which say how a run went and not what it found. Files of an earlier
version cover no `spec.json`. Does not know what is in the files.
"""

import re
from pathlib import Path

from core.data.whole import write_whole
from core.errors import UserError
from core.runs.fingerprints import sha256

NAME = "SHA256SUMS"
SPEC = "spec.json"
LINE = re.compile(r"([0-9a-f]{64})  (spec\.json|output/.+)")


def write(output: Path, folder: Path) -> None:
    """Write down the files of a run, whose `output` is, or is about to be, `folder/output`."""
    files = {f"output/{name}": output / name for name in _names(output)}
    if (folder / SPEC).is_file():
        files[SPEC] = folder / SPEC
    write_whole(folder / NAME, "".join(f"{sha256(at)}  {name}\n" for name, at in files.items()))


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
