"""Every completion of a generate run, read through the reference: completions in, means out.

The same text under the same prompt is read once, however many rollouts wrote it; a prompt is read
once, however many completions follow it. Knows nothing of behaviors.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from core.attribution.vectors import PROMPT, Activations
from core.data.tokens import encode_completions, encode_prompts
from core.models.extraction.activations import segment_means
from core.models.extraction.batch import Prompted
from core.models.loading import LoadedModel


def completion_activations(
    loaded: LoadedModel,
    completions: pd.DataFrame,
    layers: Sequence[int],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Activations:
    """Mean residual streams of completions and of their prompts, at each of `layers`.

    `completions` is a generate run's table. Those without tokens have no mean; they are left out
    and counted.
    """
    ids = encode_completions(loaded.tokenizer, completions["completion"].tolist())
    has_tokens = np.array([len(one) > 0 for one in ids], bool)
    kept = completions[has_tokens].reset_index(drop=True)
    prompts = kept.drop_duplicates(PROMPT)[[*PROMPT, "group", "topic", "prompt"]]
    prompts = prompts.reset_index(drop=True)
    texts, tokens = _unique(kept, [one for one in ids if one])
    items = _items(loaded, prompts, texts, tokens)
    means = segment_means(loaded.model, items, layers, progress=progress)
    return Activations(
        completions=kept,
        means=means.completion[_places(kept, texts)],
        prompts=prompts,
        contexts=means.context,
        layers=tuple(layers),
        n_empty=int((~has_tokens).sum()),
    )


def _unique(kept: pd.DataFrame, ids: list[list[int]]) -> tuple[pd.DataFrame, list[list[int]]]:
    """The different completions of each prompt, prompt by prompt, and their tokens."""
    number = kept.groupby(PROMPT, sort=False).ngroup().to_numpy()
    texts = kept.assign(number=number).drop_duplicates([*PROMPT, "completion"])
    texts = texts.sort_values("number", kind="stable")[[*PROMPT, "completion", "number"]]
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


def _places(kept: pd.DataFrame, texts: pd.DataFrame) -> np.ndarray:
    """Row in `texts` of each completion."""
    key = [*PROMPT, "completion"]
    place = pd.MultiIndex.from_frame(texts[key])
    return place.get_indexer(pd.MultiIndex.from_frame(kept[key]))
