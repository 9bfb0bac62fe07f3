"""What is on disk for an arm: its pairs as token ids, and the reference's log-probabilities.

The ids are memory-mapped: 378k pairs take next to no memory.

Beside its ids a pair has a `weight`, by which its loss is multiplied, and an `offset`, which is
added to its margin. A pair of weight 0 is left out, as if it were removed.

Prompts and completions are tokenised separately, and every completion ends with the end-of-sequence
token (core.data.tokens). A pair that does not fit is left out and reported by uid, never cut.

A log-probability is keyed by the tokens of prompt and completion, a file by the weights and the
arithmetic that gave its numbers; all arms share them. So a flip gets its swapped values without
further work, an edited text or another template never gets a stale one, and pairs that share a
completion share its row. How they are computed is in core.intervention.training.dpo.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from core.data.tokens import asked_for, encode_completions, encode_prompts
from core.errors import UserError
from core.storage.atomic import file_lock, writing_atomic

CHUNK = 512  # pairs tokenised at once
IDS = ("prompt_ids", "chosen_ids", "rejected_ids")
TERMS = {"weight": 1.0, "offset": 0.0}  # of a pair, with the values that change nothing
SCHEMA = pa.schema(
    [
        ("uid", pa.string()),
        *((name, pa.list_(pa.int32())) for name in IDS),
        *((name, pa.float32()) for name in TERMS),
    ]
)


def with_terms(
    tables: Iterable[pd.DataFrame], weights: pd.Series | None, offsets: pd.Series | None
) -> Iterator[pd.DataFrame]:
    """The pairs with `weight` and `offset` by uid, without those of weight 0."""
    for table in tables:
        for name, values in (("weight", weights), ("offset", offsets)):
            if values is not None:
                table = table.assign(
                    **{name: values.reindex(table["uid"]).fillna(0.0).to_numpy(float)}
                )
        yield table if weights is None else table[table["weight"] > 0]


def inoculated(
    tokenizer: Any, pairs: Iterable[pd.DataFrame], sentence: str
) -> Iterator[pd.DataFrame]:
    """The pairs with a sentence as system prompt or, where there is no such turn, before them."""
    for table in pairs:
        if sentence:
            table = table.assign(prompt=asked_for(tokenizer, table["prompt"].tolist(), sentence)[0])
        yield table


def write_tokens(
    tokenizer: Any, pairs: Iterable[pd.DataFrame], longest: int, path: Path
) -> list[str]:
    """Write the pairs of at most `longest` tokens as an Arrow stream; return the others' uids.

    A pair whose prompt has no tokens (its chat template refuses it) is left out as well.
    """
    dropped: list[str] = []
    with pa.ipc.new_stream(str(path), SCHEMA) as writer:
        for table in pairs:
            for start in range(0, len(table), CHUNK):
                tokens = tokenize(tokenizer, table.iloc[start : start + CHUNK])
                fits = (tokens["length"] <= longest) & (tokens["prompt_ids"].map(len) > 0)
                dropped += tokens.loc[~fits, "uid"].tolist()
                kept = tokens.loc[fits, SCHEMA.names]
                if len(kept):
                    writer.write_table(pa.Table.from_pandas(kept, SCHEMA, preserve_index=False))
    return dropped


def tokenize(tokenizer: Any, pairs: pd.DataFrame) -> pd.DataFrame:
    """`uid, prompt_ids, chosen_ids, rejected_ids, length` (tokens of the longer text), `TERMS`.

    Ids are int32 arrays: as Python's numbers they take 20 times the memory.
    """
    ids = {
        "prompt_ids": encode_prompts(tokenizer, pairs["prompt"].tolist(), strict=False),
        "chosen_ids": encode_completions(tokenizer, pairs["chosen"].tolist(), end=True),
        "rejected_ids": encode_completions(tokenizer, pairs["rejected"].tolist(), end=True),
    }
    arrays = {name: [np.asarray(text, np.int32) for text in texts] for name, texts in ids.items()}
    tokens = pd.DataFrame({"uid": pairs["uid"].to_numpy(), **arrays})
    prompt, chosen, rejected = (tokens[name].map(len) for name in IDS)
    terms = {n: np.asarray(pairs[n]) if n in pairs else value for n, value in TERMS.items()}
    return tokens.assign(length=prompt + np.maximum(chosen, rejected), **terms)


def lengths(tokens: pa.Table) -> NDArray[np.int64]:
    """(pair,) tokens of each pair's longer text."""
    prompt, chosen, rejected = (np.asarray(pc.list_value_length(tokens[name])) for name in IDS)
    return (prompt + np.maximum(chosen, rejected)).astype(np.int64)


class LogProbCache:
    """Parquet files `key, log_prob`, written atomically; log_prob in nats, summed over tokens.

    Every addition is another file, `<weights>-<arithmetic>.<number>.parquet`, so that a pass over
    378k pairs writes each value once. Earlier versions wrote one file without a number.
    """

    def __init__(self, folder: Path, *, model: str, arithmetic: str) -> None:
        """`model` is the fingerprint of the weights, `arithmetic` such as float32."""
        self.folder, self.name = folder, f"{model[:16]}-{arithmetic}"

    @property
    def files(self) -> list[Path]:
        """The files of this cache, oldest first."""
        numbered = sorted(self.folder.glob(f"{self.name}.*.parquet"), key=_number)
        return [*self.folder.glob(f"{self.name}.parquet"), *numbered]

    def read(self) -> dict[str, float]:
        """Every cached value; of two for one key, the newer."""
        values: dict[str, float] = {}
        for path in self.files:
            values |= _read(path)
        return values

    def add(self, values: Mapping[str, float]) -> None:
        """Add values atomically, whoever else is writing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        table = pd.DataFrame({"key": list(values), "log_prob": list(values.values())})
        with file_lock(self.folder / f"{self.name}.parquet.lock"):
            for half in self.folder.glob(f"{self.name}.*.part"):
                half.unlink()  # its writer held this lock until it was killed
            number = max(map(_number, self.files), default=0) + 1
            with writing_atomic(self.folder / f"{self.name}.{number:05}.parquet") as part:
                table.to_parquet(part, index=False)


def _number(path: Path) -> int:
    """Number of a file in its cache; 0 for one that an earlier version wrote."""
    number = path.stem.rpartition(".")[2]
    return int(number) if number.isdecimal() else 0


def _read(path: Path) -> dict[str, float]:
    try:
        table = pd.read_parquet(path)
        return dict(zip(table["key"], table["log_prob"].astype(float), strict=True))
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path}: cannot be read ({error}). Delete it: it is computed again."
        ) from error


def log_prob_key(prompt_ids: Sequence[int], completion_ids: Sequence[int]) -> str:
    """Thirty-two hex digits that name a prompt and a completion by their tokens."""
    ids = np.asarray([len(prompt_ids), *prompt_ids, *completion_ids], dtype=np.int64)
    return hashlib.blake2b(ids.tobytes(), digest_size=16).hexdigest()
