"""Label probabilities of a sequence classifier.

A model with one label gives a sigmoid, one with several a softmax, or sigmoids where its
configuration says that labels are independent. Texts are sorted by length and padded on the right;
padding is masked, so a text's probabilities do not depend on its batch. Batches are bounded in
tokens, not in texts as by the library's pipeline, so that long texts need no more memory.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.models.loading import LoadedModel, load_classifier

TOKENS = 8192  # per forward pass
LIMIT = 1 << 20  # tokenizers without a limit name an absurd one

Floats = np.ndarray[Any, np.dtype[np.float64]]


class Classifier:
    """The classifier of a model folder."""

    def __init__(self, folder: Path | str) -> None:
        self.loaded: LoadedModel = load_classifier(folder)
        config = self.loaded.model.config
        self.labels = [config.id2label[i] for i in range(config.num_labels)]
        self.independent = config.num_labels == 1 or (
            config.problem_type == "multi_label_classification"
        )
        positions = getattr(config, "max_position_embeddings", None) or LIMIT
        self.longest = int(min(positions, self.loaded.tokenizer.model_max_length, LIMIT))

    def probabilities(self, texts: Sequence[str], seconds: Sequence[str] | None) -> Floats:
        """(text, label); `seconds` are second halves of pairs. Long texts are cut at their end.

        NaN where a text has no token.
        """
        probabilities = np.full((len(texts), len(self.labels)), np.nan)
        parts = zip(texts, strict=True) if seconds is None else zip(texts, seconds, strict=True)
        limits = {"truncation": True, "max_length": self.longest}
        ids = [dict(self.loaded.tokenizer(*text, **limits)) for text in parts]
        lengths = [len(encoded["input_ids"]) for encoded in ids]
        order = sorted(filter(lengths.__getitem__, range(len(ids))), key=lengths.__getitem__)[::-1]
        done = 0
        while done < len(order):
            rows = order[done : done + max(1, TOKENS // lengths[order[done]])]
            probabilities[rows] = self._batch([ids[row] for row in rows])
            done += len(rows)
        return probabilities

    @torch.inference_mode()
    def _batch(self, encoded: list[dict[str, list[int]]]) -> Floats:
        padded = self.loaded.tokenizer.pad(encoded, padding_side="right", return_tensors="pt")
        logits = self.loaded.model(**padded.to(self.loaded.device)).logits.double()
        return (logits.sigmoid() if self.independent else logits.softmax(-1)).cpu().numpy()
