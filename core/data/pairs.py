"""Preference pairs read from a file of any format and any shape that core.data.trl_formats knows.

One row per pair: `uid, prompt, chosen, rejected, source`, any further columns kept. `uid` is
unique, and made from the row's content where the file has none. A row that is no usable pair is
skipped and listed with its row (from 1; in JSONL the line), uid, field and reason; every other row
is kept, in file order. Knows nothing of tokens: a pair too long for a model is skipped later.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from core.data import schema as typed
from core.data.readers import Line, read_records
from core.data.schema import text_problem
from core.data.trl_formats import FIELDS, ShapeError, absent, plain, to_pair
from core.errors import UserError

REQUIRED = ("prompt", "chosen", "rejected", "source")
TEXTS = ("prompt", "chosen", "rejected")
SKIPPED = ["row", "uid", "field", "reason"]
CHUNK = 4096  # rows that are Python objects at once
CHUNK_CHARACTERS = 1 << 26  # and their characters in all fields

Skipped = tuple[int, str, str, str]


class PairTable(NamedTuple):
    """The usable pairs, and the rows that were skipped: `row, uid, field, reason`."""

    pairs: pd.DataFrame
    skipped: pd.DataFrame


class Chunk(NamedTuple):
    """Some rows of a file: usable pairs with their row numbers, and the skipped rows."""

    rows: list[int]
    pairs: list[dict[str, Any]]
    skipped: list[Skipped]


See = Callable[[Chunk], None]


def read_pairs(path: Path | str, columns: Mapping[str, str] | None = None) -> PairTable:
    """All usable pairs of a file, in memory. Raises `UserError` where the file has none.

    `columns` maps a field to the column of the file that serves it, where the names differ. A
    large file is better opened with core.data.pair_table.
    """
    kinds: typed.Kinds = {}
    pairs: list[dict[str, Any]] = []
    skipped: list[Skipped] = []
    for chunk in usable_pairs(path, lambda chunk: skipped.extend(chunk.skipped), columns):
        typed.see(kinds, chunk)
        pairs += chunk
    return PairTable(typed.to_table(pairs, kinds).to_pandas(), skipped_table(skipped))


def usable_pairs(
    path: Path | str, see: See = lambda _chunk: None, columns: Mapping[str, str] | None = None
) -> Iterator[list[dict[str, Any]]]:
    """The usable pairs, at most `CHUNK` at a time; `see` is called with every chunk.

    Raises `UserError` at the end of a file that has none.
    """
    skipped: list[Skipped] = []
    empty = True
    for chunk in stream_pairs(path, columns):
        see(chunk)
        if chunk.pairs:
            empty = False
            yield chunk.pairs
        elif empty:
            skipped += chunk.skipped
    if empty:
        raise UserError(_nothing_usable(Path(path), skipped))


def stream_pairs(path: Path | str, columns: Mapping[str, str] | None = None) -> Iterator[Chunk]:
    """All rows of a file, at most `CHUNK` at a time; only the uids stay in memory."""
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such file. Check the path in the spec or in project.toml.")
    columns = check_columns(columns or {})
    first_rows: dict[str, int] = {}  # of each uid
    names: set[str] = set()
    for number, lines in enumerate(_chunks(read_records(path))):
        if number == 0:
            _refuse_missing(path, [line.value for line in lines if not line.reason], columns)
        names.update(*(line.value for line in lines))
        if len(names) > typed.MAX_COLUMNS:
            raise UserError(
                f"{path}: its rows have more than {typed.MAX_COLUMNS} different fields. Keep those "
                "that matter."
            )
        yield _chunk(lines, columns, first_rows)


def skipped_table(skipped: list[Skipped]) -> pd.DataFrame:
    """The skipped rows as a table, in file order."""
    return pd.DataFrame(skipped, columns=SKIPPED).sort_values("row", ignore_index=True)


def check_columns(columns: Mapping[str, str]) -> dict[str, str]:
    """The mapping itself; `UserError` where it names a field that pairs do not have."""
    unknown = sorted(set(columns) - set(FIELDS))
    if unknown:
        raise UserError(f"{unknown[0]!r} is not a field of a pair. Fields: {', '.join(FIELDS)}.")
    return dict(columns)


def pair_of(line: Line, columns: Mapping[str, str]) -> dict[str, Any] | Skipped:
    """The pair of a row, or why it is skipped."""
    if line.reason:
        return line.row, "", "", line.reason
    uid = line.value.get(columns.get("uid", "uid"))
    try:
        pair = to_pair(line.value, columns)
    except ShapeError as error:
        return line.row, "" if absent(uid) else str(uid), error.field, str(error)
    pair["uid"] = _uid(pair)
    field, reason = _problem(pair, plain(uid))
    return (line.row, pair["uid"], field, reason) if reason else pair


def _nothing_usable(path: Path, skipped: Sequence[Skipped]) -> str:
    """The error message for a file without any usable pair."""
    if not skipped:
        return f"{path}: the file is empty. It needs one pair per row: {', '.join(REQUIRED)}."
    row, _, field, reason = min(skipped)
    named = f", field {field!r}" if field else ""
    return f"{path}: none of its {len(skipped)} rows is a usable pair. Row {row}{named}: {reason}."


def _chunks(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """Lines in chunks of at most `CHUNK`, closed early at `CHUNK_CHARACTERS`."""
    chunk: list[Line] = []
    characters = 0
    for line in lines:
        chunk.append(line)
        characters += _characters(line.value)
        if len(chunk) == CHUNK or characters > CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _chunk(lines: Sequence[Line], columns: Mapping[str, str], first_rows: dict[str, int]) -> Chunk:
    """The pairs of some lines; a uid of an earlier row is skipped. Adds to `first_rows`."""
    chunk = Chunk([], [], [])
    for line in lines:
        pair = pair_of(line, columns)
        if isinstance(pair, tuple):
            chunk.skipped.append(pair)
        elif (first := first_rows.setdefault(pair["uid"], line.row)) != line.row:
            chunk.skipped.append((line.row, pair["uid"], "uid", f"repeats row {first}"))
        else:
            chunk.rows.append(line.row)
            chunk.pairs.append(pair)
    return chunk


def _characters(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(_characters, value.values()))
    if isinstance(value, list):
        return sum(map(_characters, value))
    return len(value) if isinstance(value, str | bytes) else 1


def _refuse_missing(
    path: Path, records: Sequence[Mapping[str, Any]], columns: Mapping[str, str]
) -> None:
    """Refuse a file that has no column for chosen or rejected, before reading all of it."""
    present = list(dict.fromkeys(name for record in records for name in record))
    needed = [columns.get(field, field) for field in ("chosen", "rejected")]
    missing = [name for name in [*needed, *columns.values()] if name not in present]
    if records and missing:
        raise UserError(
            f"{path}: column {missing[0]!r} is missing; it has {_listed(present)}. "
            "Rename or add the column, or say which one serves (--map chosen=NAME)."
        )


def _listed(names: Sequence[str]) -> str:
    listed = ", ".join(name[:60] for name in names[:20])
    return f"{listed} and {len(names) - 20:,} more" if len(names) > 20 else listed


def _uid(pair: Mapping[str, Any]) -> str:
    """The row's uid as text, or one made from its content."""
    if not absent(pair["uid"]):
        return str(pair["uid"])
    content = json.dumps([pair[name] for name in REQUIRED], default=str)
    return "pair-" + hashlib.blake2b(content.encode(), digest_size=8).hexdigest()


def _problem(pair: Mapping[str, Any], uid: Any) -> tuple[str, str]:
    """The first field that makes a pair unusable, and why; two empty texts where none does."""
    if not isinstance(pair["source"], str):
        return "source", f"a {type(pair['source']).__name__}, not text"
    if pair["chosen"] == pair["rejected"]:
        return "chosen", "the same text as rejected: it prefers nothing"
    if not absent(uid) and not isinstance(uid, str | int):
        return "uid", f"a {type(uid).__name__}, not text"
    for name in REQUIRED:
        problem = text_problem(pair[name])
        if problem:
            return name, problem
    broken = (name for name, value in pair.items() if not (_encodes(value) and _encodes(name)))
    return next(((name, "not valid Unicode text") for name in broken), ("", ""))


def _encodes(value: Any) -> bool:
    text = value if isinstance(value, str) else typed.to_json(value)
    return not text_problem(text, longest=None)
