"""Probabilities of a sequence classifier's labels, for many texts.

Texts are sorted by length and padded on the right, batch by batch; padding is masked, so a text's
probabilities do not depend on its batch. A model with one label gives a sigmoid, one with several a
softmax, or sigmoids where its configuration says that labels are independent.
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
    """A model folder with a classification head, on this machine."""

    def __init__(self, folder: Path | str) -> None:
        self.loaded: LoadedModel = load_classifier(folder)
        config = self.loaded.model.config
        self.labels = [config.id2label[i] for i in range(config.num_labels)]
        self.independent = config.num_labels == 1 or (
            config.problem_type == "multi_label_classification"
        )
        known = getattr(config, "max_position_embeddings", None) or LIMIT
        self.longest = int(min(known, self.loaded.tokenizer.model_max_length, LIMIT))

    def probabilities(self, texts: Sequence[str], seconds: Sequence[str] | None) -> Floats:
        """(text, label); `seconds` are second halves of pairs. Long texts are cut at their end.

        NaN where a text has no token.
        """
        found = np.full((len(texts), len(self.labels)), np.nan)
        pairs = list(texts) if seconds is None else list(zip(texts, seconds, strict=True))
        ids = [self._encoded(one) for one in pairs]
        lengths = [len(one["input_ids"]) for one in ids]
        order = sorted(filter(lengths.__getitem__, range(len(ids))), key=lengths.__getitem__)[::-1]
        done = 0
        while done < len(order):
            rows = order[done : done + max(1, TOKENS // lengths[order[done]])]
            found[rows] = self._batch([ids[row] for row in rows])
            done += len(rows)
        return found

    def _encoded(self, text: Any) -> dict[str, list[int]]:
        halves = (text,) if isinstance(text, str) else text
        limits = {"truncation": True, "max_length": self.longest}
        return dict(self.loaded.tokenizer(*halves, **limits))

    @torch.inference_mode()
    def _batch(self, encoded: list[dict[str, list[int]]]) -> Floats:
        padded = self.loaded.tokenizer.pad(encoded, padding_side="right", return_tensors="pt")
        logits = self.loaded.model(**padded.to(self.loaded.device)).logits.double()
        shares = logits.sigmoid() if self.independent else logits.softmax(-1)
        return shares.cpu().numpy()
