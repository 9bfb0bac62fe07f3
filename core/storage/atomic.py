"""Atomic file writes, and locks between processes, of other machines too.

A lock is flock(2). Which file systems tell other machines of it is known from their name and the
options of the mount, and cannot be tried out from one machine: NFS does, as a lock of the whole
byte range on its server, unless it is mounted with `nolock` or `local_lock` (nfs(5)).
"""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from core.errors import UserError

ABANDONED = 86_400  # seconds since the last byte, after which a writer is taken for dead
MOUNTS = Path("/proc/self/mountinfo")  # Linux only
LOCAL_LOCKS = {  # file systems of several machines: options with which each has its own locks
    "nfs": r"nolock|local_lock=(all|flock|posix)",
    "nfs4": r"nolock|local_lock=(all|flock|posix)",
    "lustre": r"localflock",
    "cifs": r"nobrl",
    "smb3": r"nobrl",
    "gfs2": r"localflocks",
    "ocfs2": r"localflocks",
}
FUSE = {"s3fs", "mountpoint-s3", "goofys", "gcsfuse", "blobfuse", "blobfuse2", "rclone", "sshfs"}


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write a file, over an earlier one: a reader sees the old or the new content, never a part.

    Text is written as UTF-8; the folder is made where it is missing.
    """
    with writing_atomic(path) as part:
        part.write_bytes(data.encode() if isinstance(data, str) else data)


@contextmanager
def writing_atomic(path: Path) -> Iterator[Path]:
    """A temporary file to write: renamed to `path` at the end, or deleted after an error.

    The folder is made where it is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def sweep(folder: Path, pattern: str = "*") -> None:
    """Delete files that killed processes left half-written in a folder, once they are a day old.

    Age decides, because the process id in a name may be of another machine. What cannot be deleted
    stays.
    """
    for half in folder.glob(f"{pattern}.part"):
        with suppress(OSError):
            if half.is_file() and time.time() - half.stat().st_mtime > ABANDONED:
                half.unlink()


def file_lock(path: Path | str) -> FileLock:
    """A lock between all processes that use a file, on whichever machine.

    `UserError` on a file system that is known to keep its locks to one machine.
    """
    why = local_locks(Path(path).resolve(), MOUNTS.read_bytes()) if MOUNTS.exists() else ""
    if why:
        raise UserError(
            f"{Path(path).parent}: {why}, so two machines could write the same run. Mount it so "
            "that locks work between machines, or keep the workspace on a local disk "
            "(docs/cluster.md)."
        )
    return FileLock(path)


def local_locks(path: Path, mounts: bytes) -> str:
    """Why other machines do not heed locks of a resolved path; "" where no reason is known.

    `mounts` has a line per mount, the later over the earlier (proc_pid_mountinfo(5)).
    """
    lines = [os.fsdecode(line).partition(" - ") for line in mounts.splitlines()]
    points = [_unescaped(mount.split(" ")[4]) for mount, *_ in lines]
    over = [n for n, point in enumerate(points) if path.is_relative_to(point)]
    if not over:
        return ""
    mount, _, system = lines[max(over, key=lambda n: (len(points[n]), n))]
    kind, source, options = system.split(" ", 2)
    name = source if kind == "fuse" else kind.removeprefix("fuse.")
    if name in FUSE:
        return f"its file system, {name}, keeps locks to one machine"
    given = {*options.split(","), *mount.split(" ")[5].split(",")}
    local = {option for option in given if re.fullmatch(LOCAL_LOCKS.get(kind, "(?!)"), option)}
    if local:
        named = ", ".join(sorted(local))
        return f"its file system is mounted with {named}: it keeps locks to one machine"
    if kind == "lustre" and "flock" not in given:
        return "its file system, lustre, is mounted without flock and has no locks"
    return ""


def _unescaped(name: str) -> str:
    """A mount point whose spaces, tabs, newlines and backslashes are written in octal."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), name)
