"""Read and write preference pairs, in any shape that core.data.trl_formats knows.

One row per pair: `uid, prompt, chosen, rejected, source`, any further columns kept. `uid` is a
column, unique, and made from the row's content where the file has none. A row that cannot be used
is skipped and listed with its row (from 1; in JSONL the line), uid, field and reason; every other
row is kept, in file order. Rows are read a few thousand at a time and kept as Arrow, so that
memory grows with the text alone. Knows nothing of tokens: a pair too long for a model is found
later.
"""

import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from core.data import canonical
from core.data import schema as typed
from core.data.limits import text_problem
from core.data.readers import Line, kind, read_records
from core.data.trl_formats import FIELDS, ShapeError, absent, on_paper, plain, to_pair
from core.errors import UserError
from core.storage.atomic import writing_atomic

REQUIRED = ("prompt", "chosen", "rejected", "source")
TEXTS = ("prompt", "chosen", "rejected")
SKIPPED = ["row", "uid", "field", "reason"]
CHUNK = 4096  # rows that are Python objects at once
CHUNK_CHARACTERS = 1 << 26  # and what they hold, whatever they are made of
WRITTEN = (".jsonl", ".jsonl.gz", ".parquet")

Skipped = tuple[int, str, str, str]


class PairTable(NamedTuple):
    """The usable pairs, and what was left out: `row, uid, field, reason`."""

    pairs: pd.DataFrame
    skipped: pd.DataFrame


class Chunk(NamedTuple):
    """Some rows of a file: usable pairs with their row numbers, and what was left out."""

    rows: list[int]
    pairs: list[dict[str, Any]]
    skipped: list[Skipped]


def read_pairs(path: Path | str, columns: Mapping[str, str] | None = None) -> PairTable:
    """All usable pairs of a file. Raises `UserError` where the file has none.

    `columns` says which column of the file serves a field, where the name is another.
    """
    path = Path(path)
    written = canonical.read(path)
    if written is not None:
        return PairTable(written, pd.DataFrame([], columns=SKIPPED))
    kinds: typed.Kinds = {}
    packed, skipped = [], []
    for part in stream_pairs(path, columns):
        skipped += part.skipped
        if part.pairs:
            typed.see(kinds, part.pairs)
            packed.append(typed.packed(part.pairs))
    table = skipped_rows(skipped)
    if not packed:
        raise UserError(nothing_usable(path, table))
    return PairTable(typed.unpacked(packed, kinds).to_pandas(), table)


def stream_texts(path: Path | str) -> Iterator[pd.DataFrame]:
    """`uid, prompt, chosen, rejected` of `read_pairs`, `CHUNK` rows at a time."""
    path = Path(path)
    wanted = ["uid", *TEXTS]
    written = canonical.batches(path, CHUNK, wanted)
    if written is not None:
        yield from (table.select(wanted).to_pandas() for table in written)
        return
    skipped: list[Skipped] = []
    any_usable = False
    for part in stream_pairs(path):
        skipped += part.skipped
        if part.pairs:
            any_usable = True
            rows = [[pair[name] for name in wanted] for pair in part.pairs]
            yield pd.DataFrame(rows, columns=wanted)
    if not any_usable:
        raise UserError(nothing_usable(path, skipped_rows(skipped)))


def skipped_rows(skipped: list[Skipped]) -> pd.DataFrame:
    """What was left out as a table, in the file's order."""
    return pd.DataFrame(skipped, columns=SKIPPED).sort_values("row", ignore_index=True)


def stream_pairs(path: Path | str, columns: Mapping[str, str] | None = None) -> Iterator[Chunk]:
    """The same, `CHUNK` rows at a time; only the uids are remembered."""
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such file. Check the path in the spec or in project.toml.")
    known = check_columns(columns or {})
    seen: dict[str, int] = {}
    names: set[str] = set()
    for number, some in enumerate(_chunks(read_records(path))):
        if number == 0:
            _refuse_missing(path, [line.value for line in some if not line.reason], known)
        names.update(*(line.value for line in some))
        if len(names) > typed.MAX_COLUMNS:
            raise UserError(
                f"{path}: its rows have more than {typed.MAX_COLUMNS} different fields. Keep those "
                "that matter."
            )
        part = Chunk([], [], [])
        for row, record, reason in some:
            pair, left_out = (
                (None, (row, "", "", reason)) if reason else pair_of(row, record, known)
            )
            if pair is not None and pair["uid"] in seen:
                left_out = (row, pair["uid"], "uid", f"repeats row {seen[pair['uid']]}")
            elif pair is not None:
                seen[pair["uid"]] = row
                part.rows.append(row)
                part.pairs.append(pair)
                continue
            assert left_out is not None
            part.skipped.append(left_out)
        yield part


def write_pairs(pairs: pd.DataFrame, path: Path | str) -> None:
    """Write pairs whole or not at all, in the format that the name ends in."""
    path = Path(path)
    form = kind(path)
    if form not in WRITTEN:
        raise UserError(f"{path}: pairs are written as {', '.join(WRITTEN)}.")
    with writing_atomic(path) as part:
        if form == ".parquet":
            pq.write_table(
                canonical.marked(pa.Table.from_pandas(pairs, preserve_index=False)), part
            )
        else:
            text = "".join(f"{line}\n" for line in _json_lines(pairs)).encode()
            part.write_bytes(gzip.compress(text, mtime=0) if form == ".jsonl.gz" else text)


def fingerprint(pairs: pd.DataFrame) -> str:
    """SHA-256 of the pairs' uids, texts and sources in their order, hex."""
    digest = hashlib.sha256()
    for record in pairs[["uid", *REQUIRED]].itertuples(index=False, name=None):
        digest.update(json.dumps(record, ensure_ascii=False).encode())
    return digest.hexdigest()


def nothing_usable(path: Path, skipped: pd.DataFrame) -> str:
    """What to tell about a file without any pair."""
    if skipped.empty:
        return f"{path}: the file is empty. It needs one pair per row: {', '.join(REQUIRED)}."
    first = skipped.iloc[0]
    field = f", field {first['field']!r}" if first["field"] else ""
    return (
        f"{path}: none of its {len(skipped)} rows is a usable pair. "
        f"Row {first['row']}{field}: {first['reason']}."
    )


def _chunks(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """Some lines at a time: as many as a chunk may have, or may hold."""
    some: list[Line] = []
    characters = 0
    for line in lines:
        some.append(line)
        characters += _characters(line.value)
        if len(some) == CHUNK or characters > CHUNK_CHARACTERS:
            yield some
            some, characters = [], 0
    if some:
        yield some


def _characters(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(_characters, value.values()))
    if isinstance(value, list):
        return sum(map(_characters, value))
    return len(value) if isinstance(value, str | bytes) else 1


def check_columns(columns: Mapping[str, str]) -> dict[str, str]:
    """The mapping itself; `UserError` where it names a field that pairs do not have."""
    unknown = sorted(set(columns) - set(FIELDS))
    if unknown:
        raise UserError(f"{unknown[0]!r} is not a field of a pair. Fields: {', '.join(FIELDS)}.")
    return dict(columns)


def _refuse_missing(
    path: Path, records: Sequence[Mapping[str, Any]], columns: Mapping[str, str]
) -> None:
    """Refuse a file that has no column for chosen or rejected, before reading all of it."""
    present = list(dict.fromkeys(name for record in records for name in record))
    wanted = [columns.get(field, field) for field in ("chosen", "rejected")]
    wanted += [name for name in columns.values() if name not in wanted]
    missing = [name for name in wanted if name not in present]
    if records and missing:
        raise UserError(
            f"{path}: column {missing[0]!r} is missing; it has {_listed(present)}. "
            "Rename or add the column, or say which one serves (--map chosen=NAME)."
        )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(name[:60] for name in names[:20])
    return f"{shown} and {len(names) - 20:,} more" if len(names) > 20 else shown


def pair_of(
    row: int, record: Mapping[str, Any], columns: Mapping[str, str]
) -> tuple[dict[str, Any] | None, Skipped | None]:
    """The pair of a row, or what is wrong with it."""
    uid = record.get(columns.get("uid", "uid"))
    shown = "" if absent(uid) else str(uid)
    try:
        pair = to_pair(record, columns)
    except ShapeError as error:
        return None, (row, shown, error.field, str(error))
    pair["uid"] = _uid(pair)
    field, reason = _problem(pair, plain(uid))
    return (None, (row, pair["uid"], field, reason)) if reason else (pair, None)


def _uid(pair: Mapping[str, Any]) -> str:
    """The row's own uid as text, else one made from its content."""
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


def _json_lines(pairs: pd.DataFrame) -> list[str]:
    cells = pairs.astype(object).where(pairs.notna(), None).itertuples(index=False, name=None)
    records = (dict(zip(map(str, pairs.columns), row, strict=True)) for row in cells)
    return [typed.to_json(on_paper(record)) for record in records]
