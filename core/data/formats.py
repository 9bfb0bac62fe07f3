"""What a file is by its first bytes, so that one with another's name is told as what it is."""

from pathlib import Path

from core.errors import UserError

BEGINNINGS = {
    b"PAR1": "Parquet",
    b"ARROW1": "Arrow",
    b"\xff\xff\xff\xff": "Arrow",
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "a zip archive",
    b"(\xb5/\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"SQLite format 3": "SQLite",
    b"\x89HDF": "HDF5",
    b"\x93NUMPY": "a NumPy array",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    **{b"\x80" + bytes([version]): "a Python pickle" for version in range(2, 6)},
}
SIZED = 8  # bytes of length before the header of a safetensors file


def refuse_disguised(path: Path, form: str) -> None:
    """`UserError` where a file is known to be something else than `form`, the end of its name."""
    with path.open("rb") as stream:
        found = _known(stream.read(16))
    if found and found != _expected(form):
        raise UserError(
            f"{path}: its name says {form}, but it holds {found}, by its first bytes. Rename it, "
            "or convert it to one of the formats that are read."
        )


def _known(head: bytes) -> str:
    """The kind of content that begins so; empty where it may be text."""
    if head[4:SIZED] == b"\0\0\0\0" and head[SIZED : SIZED + 1] == b"{":
        return "safetensors"
    return next((name for start, name in BEGINNINGS.items() if head.startswith(start)), "")


def _expected(form: str) -> str:
    if form.endswith(".gz"):
        return "gzip"
    return {".parquet": "Parquet", ".arrow": "Arrow"}.get(form, "")
