"""Planning an index before any model runs: order, tokens, shards, and what to reuse.

Pairs that share a prompt are adjacent, so that their prompt is computed once; otherwise the file's
order stays. Batches have no padding, so nothing is gained by sorting by length. Shards are cut by
tokens and named by number. Shards of an earlier index are reused if all their pairs are in this
dataset and the same model and template made them: only new pairs and new layers cost anything.
Knows tokenizers, not models.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.attribution.index.layout import (
    Manifest,
    Shard,
    array_name,
    checksum_name,
    problem,
    read_manifest,
    read_pair_list,
)
from core.data.pair_table import PairColumns
from core.data.pairs import SKIPPED, TEXTS
from core.data.tokens import encode_completions, encode_prompts
from core.errors import UserError
from core.models.memory import SHARD_TOKENS, SHARDS
from core.runs.progress import Report
from core.storage.object_store import PLACE, settle, shard_files
from core.storage.tables import data_frame

LENGTHS = tuple(f"n_{field}" for field in TEXTS)
TOKENS = "tokens.bin"
LEFT_OUT = "skipped.parquet"
CHUNK = 512  # pairs tokenised at once


def make_plan(
    pairs: PairColumns,
    tokenizer: Any,
    wanted: Manifest,
    folder: Path,
    *,
    earlier: Sequence[Path] = (),
    under: str = "",
    progress: Report,
) -> Manifest:
    """Tokenise the pairs and write all but the vectors and the manifest, which is returned.

    `wanted` is the manifest but for pairs and shards. The caller writes the manifest last, which
    marks the plan as complete. Pairs that do not fit are added to the rows that reading left out.
    `earlier` are folders of finished indexes whose vectors may be reused. Shards are written to a
    new folder under the URL `under`, if there is one.
    """
    _forget(folder)
    (folder / "shards").mkdir(parents=True)
    if under:
        settle(folder, under)
    listed, unfit = _tokenise(pairs, tokenizer, wanted.max_length, folder / TOKENS, progress)
    left_out = pd.concat([pairs.skipped, unfit], ignore_index=True)
    left_out.to_parquet(folder / LEFT_OUT, index=False)
    listed, shards = _arrange(listed, wanted, folder, earlier)
    listed.drop(columns="group").to_parquet(folder / "pairs.parquet", index=False)
    return replace(wanted, n_pairs=len(listed), n_skipped=len(left_out), shards=tuple(shards))


def planned(folder: Path) -> Manifest | None:
    """The plan of an earlier attempt; None if it is absent, incomplete or damaged."""
    if not (folder / "manifest.json").exists():
        return None
    try:
        manifest, listed = read_manifest(folder), read_pair_list(folder)
        data_frame(folder / LEFT_OUT)
    except UserError as error:
        logging.getLogger(__name__).warning("planned again: %s", error)
        return None
    if len(listed) == manifest.n_pairs and _are_tokens(folder / TOKENS, listed):
        return manifest
    logging.getLogger(__name__).warning("planned again: %s was damaged", folder / TOKENS)
    return None


def _are_tokens(path: Path, listed: pd.DataFrame) -> bool:
    """Whether the token ids in a file are those that the list was made from."""
    if not path.is_file() or path.stat().st_size != 4 * listed[[*LENGTHS]].to_numpy().sum():
        return False
    ids = np.fromfile(path, np.int32)
    columns = ("uid", *LENGTHS, "offset", "content")
    rows = zip(*(listed[name].tolist() for name in columns), strict=True)
    return all(
        _digest(uid, lengths, ids[offset : offset + sum(lengths)].tobytes()) == content
        for uid, *lengths, offset, content in rows
    )


def _forget(folder: Path) -> None:
    """Delete an earlier plan and its shards, which have the same names for other pairs."""
    (folder / "manifest.json").unlink(missing_ok=True)
    shard_files(folder).clear()
    (folder / PLACE).unlink(missing_ok=True)


def _tokenise(
    pairs: PairColumns,
    tokenizer: Any,
    max_length: int,
    path: Path,
    progress: Report,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write the ids of all pairs that fit; return the list of these and that of the others."""
    groups = pd.factorize(pairs["prompt"])[0]
    in_file = _rows(len(pairs), pairs.skipped["row"].to_numpy(np.int64))
    order = np.argsort(groups, kind="stable")
    listed: list[tuple[Any, ...]] = []
    unfit: list[tuple[Any, ...]] = []
    offset = 0
    with path.open("wb") as stream:
        for start in range(0, len(order), CHUNK):
            progress(start, len(order))
            rows = order[start : start + CHUNK]
            chunk = pairs.rows(rows)
            encoded = zip(
                encode_prompts(tokenizer, chunk["prompt"].tolist(), strict=False),
                encode_completions(tokenizer, chunk["chosen"].tolist()),
                encode_completions(tokenizer, chunk["rejected"].tolist()),
                strict=True,
            )
            for row, uid, ids in zip(rows, chunk["uid"], encoded, strict=True):
                if (why := _unfit(ids, max_length)) is not None:
                    unfit.append((int(in_file[row]), uid, *why))
                    continue
                data = np.fromiter(chain(*ids), np.int32).tobytes()
                lengths = [len(part) for part in ids]
                listed.append((uid, groups[row], *lengths, offset, _digest(uid, lengths, data)))
                stream.write(data)
                offset += sum(lengths)
    columns = ["uid", "group", *LENGTHS, "offset", "content"]
    return pd.DataFrame(listed, columns=columns), pd.DataFrame(unfit, columns=SKIPPED)


def _rows(n: int, left_out: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) the row of each pair in the file, from 1: those that reading did not leave out."""
    return np.setdiff1d(np.arange(1, n + len(left_out) + 1), left_out)[:n]


def _unfit(ids: tuple[list[int], ...], max_length: int) -> tuple[str, str] | None:
    """Field and reason if a pair does not fit the model."""
    for field, part in zip(TEXTS, ids, strict=True):
        if not part:
            return field, "no tokens, or the chat template refuses it"
        length = len(part) + (len(ids[0]) if field != "prompt" else 0)
        if length > max_length:
            what = "prompt" if field == "prompt" else f"prompt + {field}"
            return field, f"{what} has {length} tokens; {max_length} fit"
    return None


def _digest(uid: str, lengths: list[int], data: bytes) -> str:
    text = f"{uid} {lengths} ".encode() + data
    return hashlib.blake2b(text, digest_size=12).hexdigest()


def _arrange(
    listed: pd.DataFrame, wanted: Manifest, folder: Path, earlier: Sequence[Path]
) -> tuple[pd.DataFrame, list[Shard]]:
    """The list with reused shards first, then the rest cut by tokens; and all shards."""
    place = {content: row for row, content in enumerate(listed["content"])}
    order: list[int] = []
    shards: list[Shard] = []
    for source in earlier:
        for shard, rows in _adoptable(source, wanted, place):
            adopted = replace(
                shard, name=_name(shards), start=len(order), stop=len(order) + len(rows)
            )
            _adopt(source, shard.name, folder, adopted.name, wanted.layers)
            shards.append(adopted)
            order += rows
    order += sorted(place.values())
    listed = listed.iloc[order].reset_index(drop=True)
    done = shards[-1].stop if shards else 0
    costs = _costs(listed.iloc[done:])
    for start, stop, tokens in _cut(costs):
        shards.append(Shard(_name(shards), done + start, done + stop, tokens))
    return listed, shards


def _adoptable(
    source: Path, wanted: Manifest, place: dict[str, int]
) -> Iterator[tuple[Shard, list[int]]]:
    """Shards of an earlier index that can be reused; their pairs are taken out of `place`."""
    try:
        theirs, contents = read_manifest(source), read_pair_list(source)["content"].tolist()
    except UserError:  # made by another version, or damaged: nothing to reuse
        return
    same = ("model_hash", "template_hash", "dtype", "d_model")
    if any(getattr(theirs, field) != getattr(wanted, field) for field in same):
        return
    shared = sorted(set(theirs.layers) & set(wanted.layers))
    for shard in theirs.shards:
        keys = contents[shard.start : shard.stop]
        if shared and all(key in place for key in keys):
            yield shard, [place.pop(key) for key in keys]


def _adopt(source: Path, shard: str, folder: Path, name: str, layers: Sequence[int]) -> None:
    """Link (or copy) the undamaged layers of an earlier shard; the rest is computed."""
    theirs, ours = shard_files(source), shard_files(folder)
    for layer in layers:
        if problem(theirs, shard, layer) is None:
            for file in (array_name, checksum_name):
                ours.adopt(theirs, file(shard, layer), file(name, layer))


def _costs(listed: pd.DataFrame) -> NDArray[np.int64]:
    """Tokens that each pair adds, (pair,); a prompt counts once per run of pairs with it."""
    completions: NDArray[np.int64] = (listed["n_chosen"] + listed["n_rejected"]).to_numpy(np.int64)
    new = listed["group"].ne(listed["group"].shift()).to_numpy()
    return completions + np.where(new, listed["n_prompt"].to_numpy(np.int64), 0)


def _cut(costs: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """(start, stop, tokens) of shards with about equal numbers of tokens."""
    low, high = SHARD_TOKENS
    target = min(max(int(costs.sum()) // SHARDS, low), high)
    numbers = (np.cumsum(costs) - costs) // target
    for number in np.unique(numbers):
        rows = np.flatnonzero(numbers == number)
        yield int(rows[0]), int(rows[-1]) + 1, int(costs[rows].sum())


def _name(shards: list[Shard]) -> str:
    return f"{len(shards):05d}"
