"""The one error that a user can mend: shown without a traceback by pages and the command line."""

import errno
from typing import Any

LOOKING_ON = "You may look, but not change anything here. Ask an editor of this workspace."
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


class UserError(Exception):
    """Bad input. The message names the file, row and field, and says what to do."""


def in_words(error: Exception) -> UserError | None:
    """What the machine refused, as something to mend; None where that is nobody's doing."""
    if _wants_memory(error):
        return UserError(f"{NO_MEMORY}, then run the same command again.")
    if not isinstance(error, OSError) or error.errno not in REMEDIES:
        return None
    place = f"{error.filename}: " if error.filename else ""
    return UserError(f"{place}{REMEDIES[error.errno]}, then run the same command again.")


def first_problem(error: Any) -> str:
    """Field and message of the first problem in a pydantic `ValidationError`; both may be long."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"[:LONGEST]


def _wants_memory(error: Exception) -> bool:
    """torch says so by a name of its own, or in words."""
    return (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )
