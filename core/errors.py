"""Errors that a user can fix: shown without a traceback by pages and the command line."""

import errno
import os
import re
import sqlite3
from pathlib import Path
from typing import Any

READ_ONLY = "This workspace is read-only for you. Ask one of its editors."
LONGEST = 500  # characters of a message, which may quote the user's input
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


def explain(error: Exception, folder: Path | None = None) -> UserError | None:
    """The system's error (memory, disk, permissions) with its remedy; None for any other.

    The message names `folder` where the error names no file.
    """
    if _is_out_of_memory(error):
        return UserError(f"{NO_MEMORY}, then run the same command again.")
    number = error.errno if isinstance(error, OSError) else _number_in(str(error))
    if number not in REMEDIES:
        return None
    path = getattr(error, "filename", None) or folder
    place = f"{path}: " if path else ""
    return UserError(f"{place}{REMEDIES[number]}, then run the same command again.")


def in_database(path: Path, error: sqlite3.DatabaseError, otherwise: str) -> UserError:
    """SQLite's error with its remedy; `otherwise` where the file itself is damaged."""
    number = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # the primary code
    remedy = OF_SQLITE.get(number)
    advice = otherwise if remedy is None else f"{remedy}, then try again."
    return UserError(f"{path}: {error}. {advice}")


def first_problem(error: Any) -> str:
    """Field and message of the first problem in a pydantic `ValidationError`, cut at `LONGEST`."""
    first = error.errors()[0]
    parts = (".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, "))
    return ": ".join(filter(None, parts))[:LONGEST]


def _number_in(message: str) -> int | None:
    """The errno in a library's message, such as safetensors' "(os error 28)"."""
    match = re.search(r"\(os error (\d+)\)", message)
    if match:
        return int(match[1])
    return errno.ENOSPC if os.strerror(errno.ENOSPC) in message else None


def _is_out_of_memory(error: Exception) -> bool:
    """torch has its own exception, or only a message."""
    return (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )
