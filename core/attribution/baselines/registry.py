"""All attribution methods by name, under one call: `METHODS[name].rank(material)`.

A method takes the material it may read and returns a score per pair, (pair,): higher for more of
the cause, NaN if undefined. `reads` says what must be computed first: the index and the activations
of completions (`vectors`), only text (`words`), a backward pass per completion (`gradients`),
several for the loss's curvature (`factors`, if kronfluence is installed), or nothing. Formulas and
papers: docs/method.md. No method sees the truth; the layer is the one that validity chooses. Judges
are not here: they need more than this material (core.attribution.baselines.texts).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.attribution.baselines.gradient import (
    RANK,
    Contrast,
    gradients_on_disk,
    margin_gradients,
    mean_cosine,
)
from core.attribution.baselines.texts import bm25, tfidf
from core.attribution.index.layout import VectorIndex
from core.attribution.similarity import scan
from core.attribution.vectors import Activations, BehaviorVectors, Pooling, query_at
from core.data.tokens import encode_completions, encode_prompts
from core.models.residual import decoder_blocks
from core.specs.behaviors import Behavior

Floats = NDArray[np.floating]
Needs = Literal["vectors", "words", "gradients", "factors", "nothing"]


@dataclass(frozen=True)
class Material:
    """One behavior on one set of pairs: what methods may read."""

    behavior: Behavior
    pairs: pd.DataFrame  # in the order of the index
    index: VectorIndex
    vectors: BehaviorVectors
    layer: int
    activations: Activations  # completions of the prompts that show the behavior
    tokenizer: Any
    checkpoints: Sequence[tuple[str, Any]]  # name and complete model; the reference first
    folder: Path  # where gradients are written

    @cached_property
    def behavior_completions(self) -> pd.DataFrame:
        """Completions of the policy that show the behavior."""
        rows = self.activations.completions
        return rows[rows["model"].eq("policy") & rows[self.behavior.flag].isin([True])]

    @cached_property
    def reference_completions(self) -> pd.DataFrame:
        """Completions of the reference that do not."""
        rows = self.activations.completions
        return rows[rows["model"].eq("reference") & rows[self.behavior.flag].isin([False])]


@dataclass(frozen=True)
class Method:
    """A ranking, what it needs, and the folders that it writes gradients to."""

    reads: Needs
    rank: Callable[[Material], Floats]
    folders: Callable[[Material], list[Path]] = lambda material: []


def scanned(
    score: str,
    *,
    pooling: Pooling = "prompts",
    centered: bool = False,
    layers: Callable[[Material], Sequence[int]] = lambda material: (material.layer,),
) -> Method:
    """A score of one scan over the index, or its mean over several layers."""

    def rank(material: Material) -> Floats:
        columns = []
        for layer in layers(material):
            query = query_at(material.vectors, layer, pooling)
            (table,) = scan(material.index, layer, [query], centered=centered)
            columns.append(table[score].to_numpy(np.float64))
        mean: Floats = np.mean(columns, axis=0)
        return mean

    return Method("vectors", rank)


def by_gradient(
    *, checkpoints: int = 1, last_block: bool = False, lora: int | None = None
) -> Method:
    """Cosine of each pair's margin gradient with the behavior's, mean over checkpoints.

    With `lora`, a rank, of low-rank updates that are initialised at every checkpoint.
    """

    def folders(material: Material) -> list[Path]:
        end = ("-last" if last_block else "") + (f"-lora{lora}" if lora else "")
        return [material.folder / f"{name}{end}" for name, _ in material.checkpoints[:checkpoints]]

    def rank(material: Material) -> Floats:
        pairs, behavior = pair_contrasts(material), behavior_contrasts(material)
        key = f"{material.index.manifest.pairs_hash} {len(pairs)}"
        targets, rows = [], []
        for (name, model), folder in zip(material.checkpoints, folders(material), strict=False):
            blocks = [len(decoder_blocks(model)) - 1] if last_block else None
            targets.append(margin_gradients(model, behavior, blocks=blocks, rank=lora))
            rows.append(
                gradients_on_disk(folder, f"{name} {key}", model, pairs, blocks=blocks, rank=lora)
            )
        return mean_cosine(targets, rows)

    return Method("gradients", rank, folders)


def by_ekfac() -> Method:
    """EK-FAC influence at the reference."""

    def folders(material: Material) -> list[Path]:
        pairs = sha256("\n".join(material.pairs["uid"]).encode()).hexdigest()[:12]
        return [material.folder / f"{material.checkpoints[0][0]}-ekfac-{pairs}"]

    def rank(material: Material) -> Floats:
        from core.attribution.baselines.ekfac import ekfac_scores  # needs the extra

        (folder,) = folders(material)
        pairs, behavior = pair_contrasts(material), behavior_contrasts(material)
        return ekfac_scores(material.checkpoints[0][1], pairs, behavior, folder)

    return Method("factors", rank, folders)


def pair_contrasts(material: Material) -> list[Contrast]:
    """Chosen against rejected completion, of every pair."""
    pairs = material.pairs
    return _contrasts(material, pairs["prompt"], pairs["chosen"], pairs["rejected"])


def behavior_contrasts(material: Material) -> list[Contrast]:
    """For every prompt, a completion that shows the behavior against one that does not."""
    references = material.reference_completions.drop_duplicates("prompt_id")
    lower = references.set_index("prompt_id")["completion"]
    upper = material.behavior_completions.drop_duplicates("prompt_id").set_index("prompt_id")
    upper = upper[upper.index.isin(lower.index)]
    return _contrasts(material, upper["prompt"], upper["completion"], lower[upper.index])


def _contrasts(material: Material, *texts: pd.Series) -> list[Contrast]:
    """Contrasts of prompts, upper and lower completions, encoded."""
    prompts, *sides = (column.tolist() for column in texts)
    encoded = [encode_prompts(material.tokenizer, prompts)]
    encoded += [encode_completions(material.tokenizer, side) for side in sides]
    return [Contrast(*ids) for ids in zip(*encoded, strict=True)]


def _deep(material: Material) -> Sequence[int]:
    """All layers of the index but the embeddings."""
    return [layer for layer in material.index.layers if layer > 0] or material.index.layers


def _words(score: Callable[..., Floats]) -> Method:
    def rank(material: Material) -> Floats:
        texts = (
            material.pairs["chosen"],
            material.pairs["rejected"],
            material.behavior_completions["completion"],
            material.reference_completions["completion"],
        )
        return score(*(column.tolist() for column in texts))

    return Method("words", rank)


def _length(material: Material) -> Floats:
    """Words of the chosen text minus words of the rejected."""
    chosen, rejected = (
        np.array([len(text.split()) for text in material.pairs[side]], np.float64)
        for side in ("chosen", "rejected")
    )
    return chosen - rejected


def _random(material: Material) -> Floats:
    return np.random.default_rng(0).random(len(material.pairs))


METHODS: dict[str, Method] = {
    "gated": scanned("gated"),
    "gated, layers averaged": scanned("gated", layers=_deep),
    "gated, centered": scanned("gated", centered=True),
    "discriminant": scanned("discriminant"),
    "discriminant, layers averaged": scanned("discriminant", layers=_deep),
    "bilinear": scanned("bilinear"),
    "similarity": scanned("similarity"),
    "similarity, rollouts pooled": scanned("similarity", pooling="rollouts"),
    "bank": scanned("bank"),
    "projection": scanned("projection"),
    "gradient": by_gradient(),
    "gradient, last block": by_gradient(last_block=True),
    "gradient, two checkpoints": by_gradient(checkpoints=2),
    "gradient, LoRA": by_gradient(lora=RANK),
    "gradient, LoRA, two checkpoints": by_gradient(checkpoints=2, lora=RANK),
    "tfidf": _words(tfidf),
    "bm25": _words(bm25),
    "length": Method("words", _length),
    "norm": scanned("norm"),
    "random": Method("nothing", _random),
}
if find_spec("kronfluence") is not None:
    METHODS["EK-FAC"] = by_ekfac()
