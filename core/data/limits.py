"""What no file of ours can hold: texts without end, and halves of letters."""

MAX_TEXT = 1_000_000  # characters of one field; the longest real completions have tens of thousands


def text_problem(text: str, *, longest: int | None = MAX_TEXT) -> str:
    """Why a text cannot be kept; empty where it can."""
    if longest is not None and len(text) > longest:
        return f"{len(text):,} characters; at most {longest:,} are read"
    try:
        text.encode()
    except UnicodeEncodeError:  # JSON can spell half a surrogate pair, UTF-8 cannot
        return "not valid Unicode text"
    return ""
