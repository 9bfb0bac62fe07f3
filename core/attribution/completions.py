"""Activations of completions: every completion of a generate run, read by the reference.

A text is read once per prompt, however many rollouts wrote it, and a prompt once, however many
completions follow it. The two sides of an example may answer different prompts under one
`prompt_id`: each is read after its own, and the context is that of the first. Knows nothing of
behaviors.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from core.attribution.vectors import PROMPT, Activations
from core.data.tokens import encode_completions, encode_prompts
from core.models.extraction.activations import segment_means
from core.models.extraction.batch import Prompted
from core.models.loading import LoadedModel
from core.runs.progress import Report

READ = [*PROMPT, "prompt"]
TEXT = [*READ, "completion"]


def completion_activations(
    loaded: LoadedModel,
    completions: pd.DataFrame,
    layers: Sequence[int],
    *,
    progress: Report | None = None,
) -> Activations:
    """Mean residual streams, at each of `layers`, of completions and of their prompts.

    `completions` is a generate run's table. Completions without tokens have no mean; they are left
    out and counted.
    """
    ids = encode_completions(loaded.tokenizer, completions["completion"].tolist())
    has_tokens = np.array([len(tokens) > 0 for tokens in ids], bool)
    rows = completions[has_tokens].reset_index(drop=True)
    read = rows.drop_duplicates(READ)[[*PROMPT, "group", "topic", "prompt"]].reset_index(drop=True)
    first = ~read.duplicated(PROMPT).to_numpy()
    texts, tokens = _unique(rows, [tokens for tokens in ids if tokens])
    items = _items(loaded, read, texts, tokens)
    means = segment_means(loaded.model, items, layers, progress=progress)
    row_of_text = pd.MultiIndex.from_frame(texts[TEXT])
    return Activations(
        completions=rows,
        means=means.completion[row_of_text.get_indexer(pd.MultiIndex.from_frame(rows[TEXT]))],
        prompts=read[first].reset_index(drop=True),
        contexts=means.context[first],
        layers=tuple(layers),
        n_empty=int((~has_tokens).sum()),
    )


def _unique(rows: pd.DataFrame, ids: list[list[int]]) -> tuple[pd.DataFrame, list[list[int]]]:
    """The different completions of each prompt, prompt by prompt, and their tokens."""
    number = rows.groupby(READ, sort=False).ngroup().to_numpy()
    texts = rows.assign(number=number).drop_duplicates(TEXT)
    texts = texts.sort_values("number", kind="stable")[[*TEXT, "number"]]
    return texts, [ids[row] for row in texts.index]


def _items(
    loaded: LoadedModel, prompts: pd.DataFrame, texts: pd.DataFrame, tokens: list[list[int]]
) -> list[Prompted]:
    encoded = encode_prompts(loaded.tokenizer, prompts["prompt"].tolist())
    stops = np.cumsum(texts["number"].value_counts(sort=False).reindex(prompts.index)).tolist()
    return [
        Prompted(prompt, tokens[start:stop])
        for prompt, start, stop in zip(encoded, [0, *stops], stops, strict=False)
    ]
