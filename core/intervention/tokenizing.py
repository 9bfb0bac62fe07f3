"""An arm's pairs as token ids, some at a time, small enough to hold 378k of them.

Prompts and completions are tokenised apart, and every completion ends with the end-of-sequence
token (core.data.tokens). Knows nothing of which pairs fit.
"""

from typing import Any

import numpy as np
import pandas as pd

from core.data.tokens import encode_completions, encode_prompts

CHUNK = 512  # pairs tokenised at once


def tokenize(tokenizer: Any, pairs: pd.DataFrame) -> pd.DataFrame:
    """`uid, prompt_ids, chosen_ids, rejected_ids, length` (tokens of the longer text).

    Ids are int32 arrays: as Python's numbers they take 20 times the memory.
    """
    parts = [pairs.iloc[start : start + CHUNK] for start in range(0, len(pairs), CHUNK)]
    tokens = pd.concat([_encoded(tokenizer, part) for part in parts], ignore_index=True)
    lengths = tokens[["prompt_ids", "chosen_ids", "rejected_ids"]].map(len)
    tokens["length"] = lengths["prompt_ids"] + lengths[["chosen_ids", "rejected_ids"]].max(axis=1)
    return tokens


def _encoded(tokenizer: Any, pairs: pd.DataFrame) -> pd.DataFrame:
    ids = {
        "prompt_ids": encode_prompts(tokenizer, pairs["prompt"].tolist(), strict=False),
        "chosen_ids": encode_completions(tokenizer, pairs["chosen"].tolist(), end=True),
        "rejected_ids": encode_completions(tokenizer, pairs["rejected"].tolist(), end=True),
    }
    arrays = {name: [np.asarray(one, np.int32) for one in texts] for name, texts in ids.items()}
    return pd.DataFrame({"uid": pairs["uid"].to_numpy(), **arrays})
