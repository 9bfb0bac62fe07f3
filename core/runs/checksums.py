"""What a run's files were when it finished, so that a later change is found.

    runs/<step>-<hash>/SHA256SUMS   one line a file of `output/`, as `sha256sum --check` reads it

Written before the output is published. Shards are left out, since each has a checksum of its own
(core.attribution.index), and may lie elsewhere. Does not know what is in the files.
"""

import re
from pathlib import Path

from core.data.whole import write_whole
from core.errors import UserError
from core.runs.fingerprints import sha256

NAME = "SHA256SUMS"
LINE = re.compile(r"([0-9a-f]{64})  output/(.+)")


def write(output: Path, folder: Path) -> None:
    """Write down the files of `output`, a finished folder that is about to be `folder/output`."""
    lines = [f"{sha256(output / name)}  output/{name}\n" for name in _names(output)]
    write_whole(folder / NAME, "".join(lines))


def problems(folder: Path) -> dict[str, str] | None:
    """What is wrong with a run's output, by file; None where nothing says what it was."""
    path, output = folder / NAME, folder / "output"
    if not path.is_file():
        return None
    known, found = _read(path), set(_names(output))
    wrong = {name: "missing" for name in known if name not in found}
    wrong |= dict.fromkeys(found - set(known), "was not there when the run finished")
    for name in found & set(known):
        if sha256(output / name) != known[name]:
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
