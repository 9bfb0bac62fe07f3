"""The one error that a user can mend: shown without a traceback by pages and the command line."""

import errno
import os
import re
import sqlite3
from pathlib import Path
from typing import Any

READ_ONLY = "This workspace is read-only for you. Ask an editor of this workspace."
LONGEST = 500  # characters of a problem: it may repeat what somebody wrote
NO_MEMORY = (
    "There is not enough memory. Close other programs, use fewer workers or a smaller batch, "
    "or a machine with more"
)
REMEDIES = {
    errno.ENOSPC: "The disk is full. Free some space",
    errno.EDQUOT: "The disk quota is used up. Free some space",
    errno.EFBIG: "The file would be larger than is allowed here. Raise the limit",
    errno.EROFS: "The file system is read-only. Choose another workspace",
    errno.EACCES: "That is not permitted. Choose another place, or change its permissions",
    errno.EPERM: "That is not permitted. Choose another place, or change its permissions",
    errno.ENOTDIR: "A file is in the way of a folder. Choose another place",
}

OF_SQLITE = {
    sqlite3.SQLITE_BUSY: "Another process is using the file. Wait until it is done, or end it",
    sqlite3.SQLITE_LOCKED: "Another process is using the file. Wait until it is done, or end it",
    sqlite3.SQLITE_FULL: REMEDIES[errno.ENOSPC],
    sqlite3.SQLITE_IOERR: "The disk did not do what it was asked. See that it works and has room",
    sqlite3.SQLITE_READONLY: REMEDIES[errno.EACCES],
    sqlite3.SQLITE_CANTOPEN: REMEDIES[errno.EACCES],
    sqlite3.SQLITE_PERM: REMEDIES[errno.EACCES],
}


class UserError(Exception):
    """Bad input. The message names the file, row and field, and says what to do."""


def in_words(error: Exception, folder: Path | None = None) -> UserError | None:
    """What the machine refused, as something to mend; None where that is nobody's doing.

    `folder` is where it was at work, named where the error names no file.
    """
    if _wants_memory(error):
        return UserError(f"{NO_MEMORY}, then run the same command again.")
    number = error.errno if isinstance(error, OSError) else _number_in(str(error))
    if number not in REMEDIES:
        return None
    named = getattr(error, "filename", None) or folder
    place = f"{named}: " if named else ""
    return UserError(f"{place}{REMEDIES[number]}, then run the same command again.")


def in_database(path: Path, error: sqlite3.DatabaseError, otherwise: str) -> UserError:
    """What SQLite refused, and what to do: `otherwise` where the file itself is at fault."""
    number = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # without its details
    remedy = OF_SQLITE.get(number)
    advice = otherwise if remedy is None else f"{remedy}, then try again."
    return UserError(f"{path}: {error}. {advice}")


def first_problem(error: Any) -> str:
    """Field and message of the first problem in a pydantic `ValidationError`; both may be long."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"[:LONGEST]


def _number_in(said: str) -> int | None:
    """The system's number in the words of a library: safetensors' are "(os error 28)"."""
    found = re.search(r"\(os error (\d+)\)", said)
    if found:
        return int(found[1])
    return errno.ENOSPC if os.strerror(errno.ENOSPC) in said else None


def _wants_memory(error: Exception) -> bool:
    """torch says so by a name of its own, or in words."""
    return (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )
