"""Preference pairs from JSONL (`.jsonl`, `.jsonl.gz`) or Parquet files, and back.

One row per pair: `uid, prompt, chosen, rejected, source`, any further columns kept. `uid` is a
column, unique, and made from the row's content where the file has none. A row that cannot be used
is skipped and listed with its row (from 1; in JSONL the line), uid, field and reason; every other
row is kept, in file order. Knows nothing of tokens: a pair too long for a model is found later.
"""

import gzip
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from core.data.jsonl import read_lines
from core.errors import UserError

REQUIRED = ("prompt", "chosen", "rejected", "source")
FORMATS = (".jsonl", ".jsonl.gz", ".parquet")
SKIPPED = ["row", "uid", "field", "reason"]


class PairTable(NamedTuple):
    """The usable pairs, and what was left out: `row, uid, field, reason`."""

    pairs: pd.DataFrame
    skipped: pd.DataFrame


def read_pairs(path: Path | str) -> PairTable:
    """All usable pairs of a file. Raises `UserError` where the file has none."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file. Check the path in the spec or in project.toml.")
    rows, skipped = _read_parquet(path) if _format(path) == ".parquet" else _read_jsonl(path)
    good: list[dict[str, Any]] = []
    seen: dict[str, int] = {}
    for row, record in rows:
        uid = _uid(record)
        field, reason = _problem(record)
        if not reason and uid in seen:
            field, reason = "uid", f"repeats row {seen[uid]}"
        if reason:
            skipped.append((row, uid, field, reason))
            continue
        seen[uid] = row
        good.append({"uid": uid} | {name: value for name, value in record.items() if name != "uid"})
    table = pd.DataFrame(skipped, columns=SKIPPED).sort_values("row", ignore_index=True)
    if not good:
        raise UserError(_nothing_usable(path, table))
    return PairTable(_frame(good), table)


def write_pairs(pairs: pd.DataFrame, path: Path | str) -> None:
    """Write pairs whole or not at all, in the format that the name ends in."""
    path = Path(path)
    kind = _format(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    if kind == ".parquet":
        pairs.to_parquet(part, index=False)
    else:
        text = "".join(f"{line}\n" for line in _json_lines(pairs)).encode()
        part.write_bytes(gzip.compress(text, mtime=0) if kind == ".jsonl.gz" else text)
    os.replace(part, path)


def fingerprint(pairs: pd.DataFrame) -> str:
    """SHA-256 of the pairs' uids, texts and sources in their order, hex."""
    digest = hashlib.sha256()
    for record in pairs[["uid", *REQUIRED]].itertuples(index=False, name=None):
        digest.update(json.dumps(record, ensure_ascii=False).encode())
    return digest.hexdigest()


def _read_jsonl(path: Path) -> tuple[list[tuple[int, dict[str, Any]]], list[tuple[Any, ...]]]:
    lines = list(read_lines(path))
    bad: list[tuple[Any, ...]] = [(line.row, "", "", line.reason) for line in lines if line.reason]
    return [(line.row, line.value) for line in lines if not line.reason], bad


def _read_parquet(path: Path) -> tuple[list[tuple[int, dict[str, Any]]], list[tuple[Any, ...]]]:
    try:
        table = pd.read_parquet(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({error}). Copy it again.") from error
    missing = [name for name in REQUIRED if name not in table]
    if missing:
        raise UserError(
            f"{path}: column {missing[0]!r} is missing; it has {', '.join(map(str, table))}. "
            "Rename or add the column."
        )
    records: list[dict[Any, Any]] = table.to_dict("records")
    return list(enumerate(records, start=1)), []


def _format(path: Path) -> str:
    kind = next((kind for kind in FORMATS if path.name.endswith(kind)), None)
    if kind is None:
        raise UserError(f"{path}: pairs are {', '.join(FORMATS)} files. Convert the file.")
    return kind


def _uid(record: dict[str, Any]) -> str:
    """The row's own uid as text, else one made from its content."""
    given = record.get("uid")
    if not _absent(given):
        return str(given)
    content = json.dumps([record.get(name) for name in REQUIRED], default=str)
    return "pair-" + hashlib.blake2b(content.encode(), digest_size=8).hexdigest()


def _problem(record: dict[str, Any]) -> tuple[str, str]:
    """The first field that makes a row unusable, and why; two empty texts where none does."""
    for name in REQUIRED:
        reason = _text_problem(record.get(name))
        if reason:
            return name, reason
    if record["chosen"] == record["rejected"]:
        return "chosen", "the same text as rejected: it prefers nothing"
    uid = record.get("uid")
    if not _absent(uid) and not isinstance(uid, str | int):
        return "uid", f"a {type(uid).__name__}, not text"
    broken = (name for name, value in record.items() if not _encodes(value))
    return next(((name, "not valid Unicode text") for name in broken), ("", ""))


def _text_problem(value: Any) -> str:
    if _absent(value):
        return "missing"
    if not isinstance(value, str):
        return f"a {type(value).__name__}, not text"
    return "" if value.strip() else "empty"


def _absent(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and pd.isna(value))


def _encodes(value: Any) -> bool:
    """False for text with half a surrogate pair, which JSON can hold and no file can."""
    try:
        return not isinstance(value, str) or bool(value.encode() or True)
    except UnicodeEncodeError:
        return False


def _frame(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Rows as a table; a further column that mixes or nests types becomes JSON text."""
    frame = pd.DataFrame(list(rows))
    for name in frame.columns.difference(["uid", *REQUIRED]):
        values = [None if _absent(value) else value for value in frame[name]]
        kinds = {type(value) for value in values if value is not None}
        if kinds & {list, dict} or (len(kinds) > 1 and kinds != {int, float}):
            frame[name] = [value if value is None else _json(value) for value in values]
    return frame


def _nothing_usable(path: Path, skipped: pd.DataFrame) -> str:
    if skipped.empty:
        return f"{path}: the file is empty. It needs one pair per line: {', '.join(REQUIRED)}."
    first = skipped.iloc[0]
    field = f", field {first['field']!r}" if first["field"] else ""
    return (
        f"{path}: none of its {len(skipped)} rows is a usable pair. "
        f"Row {first['row']}{field}: {first['reason']}."
    )


def _json_lines(pairs: pd.DataFrame) -> list[str]:
    records = pairs.astype(object).where(pairs.notna(), None).to_dict("records")
    return [_json(record) for record in records]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    """What Parquet hands out and JSON does not know: arrays, and dates."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
