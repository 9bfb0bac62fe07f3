"""The one error that a user can mend: shown without a traceback by pages and the command line."""

LOOKING_ON = "You may look, but not change anything here. Ask an editor of this workspace."


class UserError(Exception):
    """Bad input. The message names the file, row and field, and says what to do."""
