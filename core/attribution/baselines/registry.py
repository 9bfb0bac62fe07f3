"""Every way to order pairs by a behavior, under one call: `METHODS[name].rank(material)`.

A method gets the material it may read and gives a score per pair, (pair,), higher for more of the
cause, NaN where it cannot tell. `reads` says what has to be paid for first: the index and the
prompts' completions (`vectors`), only text (`words`), a backward pass per completion (`gradients`),
several for the loss's curvature (`factors`, where kronfluence is installed), or nothing. Formulas
and papers: docs/method.md. No method sees the truth; the layer is the one that validity chooses.
Judges are not here: what they read is outside (core.attribution.baselines.llm_rating).
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

from core.attribution.baselines.gradient import Contrast, agreeing, margin_gradients
from core.attribution.baselines.gradient_cache import gradients_on_disk
from core.attribution.baselines.lexical import bm25, tfidf
from core.attribution.baselines.lora import RANK
from core.attribution.index.layout import VectorIndex
from core.attribution.similarity import scan
from core.attribution.vectors import Activations, BehaviorVectors, query_at
from core.data.tokens import encode_completions, encode_prompts
from core.models.residual import decoder_blocks
from core.specs.behaviors import Behavior

Floats = NDArray[np.floating]
Needs = Literal["vectors", "words", "gradients", "factors", "nothing"]
Pooling = Literal["prompts", "rollouts"]


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
    checkpoints: Sequence[tuple[str, Any]]  # name and model, whole; the reference first
    folder: Path  # where gradients are kept

    @cached_property
    def shown(self) -> pd.DataFrame:
        """Completions of the policy that show the behavior."""
        rows = self.activations.completions
        return rows[rows["model"].eq("policy") & rows[self.behavior.flag].isin([True])]

    @cached_property
    def usual(self) -> pd.DataFrame:
        """Completions of the reference, which do not."""
        rows = self.activations.completions
        return rows[rows["model"].eq("reference") & rows[self.behavior.flag].isin([False])]


@dataclass(frozen=True)
class Method:
    """A ranking, what has to be there for it, and where it keeps gradients."""

    reads: Needs
    rank: Callable[[Material], Floats]
    kept: Callable[[Material], list[Path]] = lambda material: []


def scanned(
    score: str,
    *,
    pooling: Pooling = "prompts",
    centered: bool = False,
    layers: Callable[[Material], Sequence[int]] = lambda material: (material.layer,),
) -> Method:
    """A score of one scan over the index, or its mean over several layers."""

    def rank(material: Material) -> Floats:
        found = [_scan(material, layer, pooling, centered)[score] for layer in layers(material)]
        mean: Floats = np.mean([one.to_numpy(np.float64) for one in found], axis=0)
        return mean

    return Method("vectors", rank)


def by_gradient(
    *, checkpoints: int = 1, last_block: bool = False, lora: int | None = None
) -> Method:
    """Cosine of each pair's margin gradient with the behavior's, mean over checkpoints.

    With `lora`, a rank, of low-rank updates that start anew at every checkpoint.
    """

    def kept(material: Material) -> list[Path]:
        end = ("-last" if last_block else "") + (f"-lora{lora}" if lora else "")
        return [material.folder / f"{name}{end}" for name, _ in material.checkpoints[:checkpoints]]

    def rank(material: Material) -> Floats:
        pairs, behavior = pair_contrasts(material), behavior_contrasts(material)
        key = f"{material.index.manifest.pairs_hash} {len(pairs)}"
        targets, rows = [], []
        for (name, model), folder in zip(material.checkpoints, kept(material), strict=False):
            blocks = [len(decoder_blocks(model)) - 1] if last_block else None
            targets.append(margin_gradients(model, behavior, blocks=blocks, rank=lora))
            whose = f"{name} {key}"
            rows.append(gradients_on_disk(folder, whose, model, pairs, blocks=blocks, rank=lora))
        return agreeing(targets, rows)

    return Method("gradients", rank, kept)


def by_ekfac() -> Method:
    """Gradients at the reference, each direction divided by the loss's curvature along it."""

    def kept(material: Material) -> list[Path]:
        pairs = sha256("\n".join(material.pairs["uid"]).encode()).hexdigest()[:12]
        return [material.folder / f"{material.checkpoints[0][0]}-ekfac-{pairs}"]

    def rank(material: Material) -> Floats:
        from core.attribution.baselines.ekfac import ekfac_scores  # needs the extra

        (folder,) = kept(material)
        pairs, behavior = pair_contrasts(material), behavior_contrasts(material)
        return ekfac_scores(material.checkpoints[0][1], pairs, behavior, folder)

    return Method("factors", rank, kept)


def pair_contrasts(material: Material) -> list[Contrast]:
    """Chosen against rejected, of every pair."""
    pairs, tokenizer = material.pairs, material.tokenizer
    prompts = encode_prompts(tokenizer, pairs["prompt"].tolist())
    sides = [encode_completions(tokenizer, pairs[s].tolist()) for s in ("chosen", "rejected")]
    return [Contrast(*three) for three in zip(prompts, *sides, strict=True)]


def behavior_contrasts(material: Material) -> list[Contrast]:
    """For every prompt, a completion that shows the behavior against one that does not."""
    usual = material.usual.drop_duplicates("prompt_id").set_index("prompt_id")["completion"]
    shown = material.shown.drop_duplicates("prompt_id").set_index("prompt_id")
    shown = shown[shown.index.isin(usual.index)]
    tokenizer = material.tokenizer
    prompts = encode_prompts(tokenizer, shown["prompt"].tolist())
    upper = encode_completions(tokenizer, shown["completion"].tolist())
    lower = encode_completions(tokenizer, usual[shown.index].tolist())
    return [Contrast(*three) for three in zip(prompts, upper, lower, strict=True)]


def _deep(material: Material) -> Sequence[int]:
    return [layer for layer in material.index.layers if layer > 0] or material.index.layers


def _scan(material: Material, layer: int, pooling: Pooling, centered: bool) -> pd.DataFrame:
    query = query_at(material.vectors, layer, pooling)
    return scan(material.index, layer, [query], centered=centered)[0]


def _words(score: Callable[..., Floats]) -> Method:
    def rank(material: Material) -> Floats:
        sides = (material.pairs["chosen"].tolist(), material.pairs["rejected"].tolist())
        return score(
            *sides, material.shown["completion"].tolist(), material.usual["completion"].tolist()
        )

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
