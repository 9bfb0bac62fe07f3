"""What a step is asked to do: one frozen record per step, the same from shell, browser and cluster.

What these records have in common, and how a run gets its id from them, is in core.specs.base.
They know nothing of how a step works.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, PositiveInt, field_validator, model_validator

from core.models.api.client import KEY
from core.models.api.url_guard import checked
from core.specs.base import File, Judge, Model, Pairs, Run, Spec
from core.specs.behaviors import DEFAULT_SCORE, Behavior, Score
from core.specs.recipes import Edit

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
DTYPE: Any = Field(
    "auto", description="arithmetic; auto: bfloat16 on a GPU, float32 on a CPU; float16: GPUs only"
)


class CheckSpec(Spec):
    """Look for what is wrong, or odd, with the pairs; with a model, tokenise a sample of them."""

    step: ClassVar[str] = "check"
    uses_device: ClassVar[bool] = False
    pairs: Pairs = Field(description="preference pairs: a file or folder of any known shape")
    model: Model | None = Field(None, description="model whose tokenizer and template are asked")
    max_length: PositiveInt = Field(2048, description="tokens of prompt + completion at most")


class ConvertSpec(Spec):
    """Copy a preference set of any shape into one Parquet file in our own form; tell its health."""

    step: ClassVar[str] = "convert"
    uses_device: ClassVar[bool] = False
    pairs: Pairs = Field(description="preference pairs: a file or folder of any known shape")
    columns: dict[str, str] = Field({}, description="which column serves a field, in JSON")


class GenerateSpec(Spec):
    """Run prompts through reference and policy, and judge every completion."""

    step: ClassVar[str] = "generate"
    resumable: ClassVar[bool] = True
    later: ClassVar[frozenset[str]] = frozenset({"completions", "dtype"})
    reference: Model = Field(description="model before DPO")
    policy: Model = Field(description="model after DPO")
    prompts: File = Field(description="prompts (JSONL, CSV, YAML, text) that may show the behavior")
    judge: Judge = Field(description="who judges: a world file or judge file (TOML), or 'refusal'")
    rollouts: PositiveInt = Field(8, description="completions per prompt, condition and model")
    temperature: float = Field(0.7, ge=0, description="sampling temperature; 0 is greedy")
    max_new_tokens: PositiveInt = Field(64, description="tokens after which a completion is cut")
    seed: int = Field(0, description="seed of the sampling")
    dtype: Dtype = DTYPE
    completions: File | None = Field(None, description="completions that exist already")


class IndexSpec(Spec):
    """Turn every preference pair into chosen, rejected and context means, once, on disk."""

    step: ClassVar[str] = "index"
    resumable: ClassVar[bool] = True
    model: Model = Field(description="model that reads the pairs: the reference")
    pairs: Pairs = Field(description="preference pairs (JSONL or Parquet)")
    layers: tuple[int, ...] = Field((), description="layers to keep; empty: every layer")
    max_length: PositiveInt = Field(2048, description="tokens of prompt + completion at most")
    dtype: Dtype = DTYPE


class RankSpec(Spec):
    """Build the behavior vector and order the pairs by how far each pushes towards it."""

    step: ClassVar[str] = "rank"
    later: ClassVar[frozenset[str]] = frozenset({"centered", "average_layers"})
    generate: Run = Field(description="generate run that holds the completions")
    index: Run = Field(description="index run that holds the pairs' vectors")
    behavior: Behavior = Field(description="name of a behavior of the project, or JSON")
    layer: int | None = Field(None, ge=0, description="layer; none: most valid, without the truth")
    pooling: Literal["prompts", "rollouts"] = Field(
        "prompts", description="what weighs the same in the mean (rollouts: as in the paper)"
    )
    method: Score = Field(DEFAULT_SCORE, description="order of the pairs")
    centered: bool = Field(
        False, description="take the mean datapoint vector of all pairs off each"
    )
    average_layers: bool = Field(
        False, description="mean of the scores over the index's layers (not the embeddings)"
    )


class DiscoverSpec(Spec):
    """Draw a map on which pairs that push the same prompts lie together, and cluster them."""

    step: ClassVar[str] = "discover"
    later: ClassVar[frozenset[str]] = frozenset({"recut", "level"})
    generate: Run = Field(description="generate run that holds the completions")
    index: Run = Field(description="index run that holds the pairs' vectors")
    layer: int | None = Field(None, ge=0, description="layer; none: five eighths up the index")
    gated: bool = Field(True, description="context gating of the matrix")
    kinds: int = Field(8, ge=2, description="groups of prompts to start from; alike ones join")
    cluster_by: Literal["push", "density"] = Field(
        "push", description="push: the kind a pair moves most; density: islands of the map"
    )
    neighbors: int = Field(15, ge=2, description="UMAP: neighbours per point")
    min_dist: float = Field(0.05, ge=0, le=1, description="UMAP: how tightly points may pack")
    min_cluster_size: int | None = Field(
        None, ge=2, description="HDBSCAN: smallest island, pairs; none: 3/4 of their square root"
    )
    laid_out: int = Field(
        50_000, ge=100, description="UMAP: pairs at most; the others are put among them"
    )
    repeats: int = Field(10, ge=0, description="stability: draws of prompts (seeds: a fifth)")
    seed: int = Field(0, description="seed of projection and clustering")
    recut: Run | None = Field(
        None, description="discover run whose map is cut coarser or finer, not drawn again"
    )
    level: float | None = Field(
        None, gt=0, description="distance on the map at which its tree is cut; larger is coarser"
    )

    @model_validator(mode="after")
    def check_level(self) -> Self:
        """A map that is cut again needs to know where, and a level a map."""
        if (self.recut is None) != (self.level is None):
            raise ValueError("recut (a discover run) and level (a distance) come together")
        return self


class SuggestSpec(Spec):
    """Ask a language model what it would call each cluster; its names stay suggestions."""

    step: ClassVar[str] = "suggest"
    uses_device: ClassVar[bool] = False
    discover: Run = Field(description="discover run that holds the clusters")
    llm: str = Field(min_length=1, description="name that the endpoint knows the model by")
    url: str = Field("", description="endpoint, https://…/v1; none: $PAIRTRACE_ENDPOINT_URL")
    examples: PositiveInt = Field(5, description="pairs of each cluster that it reads")

    @field_validator("url")
    @classmethod
    def check_url(cls, url: str) -> str:
        """An address that may be asked, without a key: this record is kept and shown."""
        return checked(url, KEY) if url else url


class EditSpec(Spec):
    """Apply recipes to the pairs: remove some, flip some, keep the rest."""

    step: ClassVar[str] = "edit"
    uses_device: ClassVar[bool] = False
    pairs: Pairs = Field(description="preference pairs to edit")
    edits: tuple[Edit, ...] = Field(description="recipes with their action, in JSON")
    control: int | None = Field(
        None, description="seed of a random control: same size, sources and action"
    )


class TrainSpec(Spec):
    """Retrain the reference with DPO on one arm's pairs, or take a checkpoint trained elsewhere."""

    step: ClassVar[str] = "train"
    resumable: ClassVar[bool] = True
    distributed: ClassVar[bool] = True
    reference: Model = Field(description="checkpoint that DPO starts from and is held to")
    pairs: Pairs = Field(description="the arm's pairs: a file, or an edit run")
    seed: int = Field(0, description="seed of data order and dropout")
    preset: Literal["organism", "olmo2"] = Field("organism", description="defaults of the recipe")
    loss_type: Literal["sigmoid", "sigmoid_norm"] = Field("sigmoid", description="DPO loss")
    beta: float = Field(0.5, gt=0, description="strength of the pull to the reference")
    learning_rate: float = Field(5e-4, gt=0, description="peak learning rate")
    scheduler: Literal["linear", "cosine", "constant"] = Field(
        "linear", description="how the learning rate falls after the warm-up"
    )
    warmup_ratio: float = Field(0.1, ge=0, lt=1, description="share of the steps to warm up in")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's decay of the weights, per step")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are cut to this norm")
    epochs: float = Field(1.0, gt=0, description="passes over the pairs")
    batch_size: PositiveInt = Field(32, description="pairs per optimizer step, all processes")
    micro_batch: int = Field(
        0, ge=0, description="pairs per forward pass and process; 0: as many as fit 32,768 tokens"
    )
    max_length: PositiveInt = Field(2048, description="tokens of prompt + completion at most")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="arithmetic; auto: bfloat16 on a GPU, float32 on a CPU"
    )
    method: Literal["full", "lora"] = Field(
        "full", description="train all weights, or low-rank updates that are merged at the end"
    )
    lora_r: PositiveInt = Field(16, description="lora: rank of the updates")
    lora_alpha: PositiveInt = Field(32, description="lora: updates are scaled by alpha / rank")
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="lora: share of inputs dropped")
    checkpoints: PositiveInt = Field(10, description="checkpoints per training; two are kept")
    checkpoint: Model | None = Field(
        None, description="import this model folder, trained elsewhere, instead of training"
    )

    @model_validator(mode="before")
    @classmethod
    def fill_from_preset(cls, given: Any) -> Any:
        """OLMo 2's published recipe (arXiv 2501.00656, table 19) where a knob is not named."""
        if isinstance(given, Mapping) and given.get("preset") == "olmo2":
            recipe = {
                "loss_type": "sigmoid_norm",
                "beta": 5.0,
                "learning_rate": 1e-6,
                "batch_size": 128,
            }
            return {**recipe, **given}
        return given

    @model_validator(mode="after")
    def check_batches(self) -> Self:
        """A batch is a whole number of micro-batches."""
        if self.micro_batch and self.batch_size % self.micro_batch:
            raise ValueError(
                f"micro_batch {self.micro_batch} does not divide batch_size {self.batch_size}"
            )
        return self


class EvaluateSpec(Spec):
    """Measure every behavior of one model on held-out prompts, steered if asked.

    Steering is the check without training: `add` writes coefficient × behavior vector into the
    residual stream at the layer it was read from, `project_out` takes its direction out.
    """

    step: ClassVar[str] = "evaluate"
    resumable: ClassVar[bool] = True
    later: ClassVar[frozenset[str]] = frozenset({"dtype"})
    model: Model = Field(description="model to measure: a folder, or a train run")
    prompts: File = Field(description="held-out prompts (JSONL)")
    judge: Judge = Field(description="who judges: a world file or judge file (TOML), or 'refusal'")
    behaviors: tuple[Behavior, ...] = Field(description="what to measure, in JSON")
    rollouts: PositiveInt = Field(4, description="completions per prompt and condition")
    temperature: float = Field(0.7, ge=0, description="sampling temperature; 0 is greedy")
    max_new_tokens: PositiveInt = Field(64, description="tokens after which a completion is cut")
    seed: int = Field(0, description="seed of the sampling")
    dtype: Dtype = DTYPE
    vector: Run | None = Field(None, description="rank run whose behavior vector steers")
    steering: Literal["none", "add", "project_out"] = Field("none", description="how it steers")
    coefficient: float = Field(1.0, description="multiple of the behavior vector that is added")

    @model_validator(mode="after")
    def check_steering(self) -> Self:
        """Steering and its vector come together."""
        if (self.steering == "none") != (self.vector is None):
            raise ValueError("steering needs a vector (a rank run), and a vector needs steering")
        return self


STEPS: dict[str, type[Spec]] = {
    spec.step: spec
    for spec in (
        CheckSpec,
        ConvertSpec,
        GenerateSpec,
        IndexSpec,
        RankSpec,
        DiscoverSpec,
        SuggestSpec,
        EditSpec,
        TrainSpec,
        EvaluateSpec,
    )
}


def is_run(reference: str) -> bool:
    """Whether a reference is a run's id rather than a path."""
    step, _, digest = reference.partition("-")
    return step in STEPS and len(digest) == 16 and digest.isalnum()
