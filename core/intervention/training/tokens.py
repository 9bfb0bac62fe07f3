"""An arm's pairs as memory-mapped token ids: 378k of them take next to no memory.

Beside its ids a pair has a `weight`, by which its loss is multiplied, and an `offset`, which is
added to its margin. A pair of weight 0 is left out, as if it were removed.

Prompts and completions are tokenised separately, and every completion ends with the end-of-sequence
token (core.data.tokens). A pair that does not fit is left out and reported by uid, never cut.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from core.data.tokens import asked_for, encode_completions, encode_prompts

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
