"""The specs of the steps: one record per step, the same from shell, browser and cluster.

The names and defaults of fields are hashed into run ids (core.specs.base), so they never change;
what users read is the description. Knows nothing of how a step works.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, PositiveInt, model_validator

from core.data.conditions import CONDITIONS, Condition, named_apart
from core.specs.base import DTYPE, Dtype, File, Judge, Model, Pairs, Run, Sampled, Spec, Url
from core.specs.behaviors import DEFAULT_SCORE, Behavior, ContrastSpec, Score
from core.specs.recipes import EditSpec

Conditions = Annotated[tuple[Condition, ...], AfterValidator(named_apart)]
CONDITIONS_FIELD: Any = Field(
    CONDITIONS, description="JSON list of what is sent of a prompt beside its plain text"
)
OLMO2_TRAINING = {
    "loss_type": "sigmoid_norm",
    "beta": 5.0,
    "learning_rate": 1e-6,
    "batch_size": 128,
}


class CheckSpec(Spec):
    """Report invalid and unusual pairs; with a model, tokenize a sample of them."""

    step: ClassVar[str] = "check"
    uses_device: ClassVar[bool] = False
    pairs: Pairs = Field(description="preference pairs: a file or folder of any supported format")
    model: Model | None = Field(None, description="model with the tokenizer and chat template")
    max_length: PositiveInt = Field(2048, description="maximum tokens of prompt + completion")


class ConvertSpec(Spec):
    """Copy preference pairs of any supported format into one canonical file; report its quality."""

    step: ClassVar[str] = "convert"
    uses_device: ClassVar[bool] = False
    pairs: Pairs = Field(description="preference pairs: a file or folder of any supported format")
    columns: dict[str, str] = Field({}, description="JSON: field → column that provides it")


class GenerateSpec(Sampled):
    """Sample completions of reference and policy, and judge each of them."""

    step: ClassVar[str] = "generate"
    resumable: ClassVar[bool] = True
    later: ClassVar[frozenset[str]] = Sampled.later | {"completions", "conditions"}
    places: ClassVar[frozenset[str]] = Sampled.places | {"policy_url"}
    reference: Model = Field(description="model before DPO")
    policy: Model = Field(description="model after DPO")
    prompts: File = Field(description="prompts that may show the behavior (JSONL, CSV, YAML, text)")
    judge: Judge = Field(
        description="judge: a world file or judge file (TOML), 'refusal' or 'none' (no flags)"
    )
    rollouts: PositiveInt = Field(8, description="completions per prompt, condition and model")
    policy_url: Url = Field("", description="openai: the policy's server; default: --url's")
    completions: File | None = Field(None, description="existing completions, instead of sampling")
    conditions: Conditions = CONDITIONS_FIELD


class IndexSpec(Spec):
    """Compute mean activations of every pair: chosen, rejected and context, at each layer."""

    step: ClassVar[str] = "index"
    resumable: ClassVar[bool] = True
    distributed: ClassVar[bool] = True
    model: Model = Field(description="model whose activations are computed: the reference")
    pairs: Pairs = Field(description="preference pairs (JSONL or Parquet)")
    layers: tuple[int, ...] = Field((), description="layers to keep; empty: every layer")
    max_length: PositiveInt = Field(2048, description="maximum tokens of prompt + completion")
    dtype: Dtype = DTYPE


class RankSpec(Spec):
    """Build the behavior vector and rank the pairs by their score for it."""

    step: ClassVar[str] = "rank"
    later: ClassVar[frozenset[str]] = frozenset({"centered", "average_layers"})
    generate: Run = Field(description="generate or contrast run with the completions")
    index: Run = Field(description="index run with the pairs' vectors")
    behavior: Behavior = Field(description="name of a behavior of the project, or JSON")
    layer: int | None = Field(None, ge=0, description="default: layer with the best held-out AUC")
    pooling: Literal["prompts", "rollouts"] = Field(
        "prompts", description="what has equal weight in the mean (rollouts: as in the paper)"
    )
    method: Score = Field(DEFAULT_SCORE, description="score that orders the pairs")
    centered: bool = Field(
        False, description="subtract the mean datapoint vector of all pairs from each"
    )
    average_layers: bool = Field(
        False, description="mean of the scores over the index's layers (not the embeddings)"
    )


class ExplainSpec(Spec):
    """Split the scores of pairs over the words of their completions."""

    step: ClassVar[str] = "explain"
    later: ClassVar[frozenset[str]] = frozenset({"chosen", "rejected"})
    rank: Run = Field(description="rank run whose score is explained")
    top: PositiveInt = Field(50, description="pairs to explain, best first")
    uids: tuple[str, ...] = Field((), description="JSON list of pairs to explain instead")
    chosen: str | None = Field(None, description="of one pair: explain it with this text instead")
    rejected: str | None = Field(None, description="of one pair: the same")

    @model_validator(mode="after")
    def check_texts(self) -> Self:
        """Other texts are of one pair, and are texts."""
        texts = [text for text in (self.chosen, self.rejected) if text is not None]
        if texts and (len(self.uids) != 1 or not all(text.strip() for text in texts)):
            raise ValueError(
                "chosen and rejected are texts of one pair: name its uid, write a text"
            )
        return self


class DiscoverSpec(Spec):
    """Map and cluster the pairs by which prompts they affect."""

    step: ClassVar[str] = "discover"
    later: ClassVar[frozenset[str]] = frozenset({"recut", "level"})
    generate: Run = Field(description="generate run with the completions")
    index: Run = Field(description="index run with the pairs' vectors")
    layer: int | None = Field(None, ge=0, description="default: 5/8 up the index's layers")
    gated: bool = Field(True, description="weight the matrix by context similarity")
    kinds: int = Field(8, ge=2, description="prompt clusters before similar ones are merged")
    cluster_by: Literal["push", "density"] = Field(
        "push", description="push: prompt cluster with the highest score; density: HDBSCAN"
    )
    neighbors: int = Field(15, ge=2, description="UMAP: neighbors per point")
    min_dist: float = Field(0.05, ge=0, le=1, description="UMAP: minimum distance between points")
    min_cluster_size: int | None = Field(
        None,
        ge=2,
        description="HDBSCAN: minimum pairs per cluster; default: 0.75 · √pairs",
    )
    laid_out: int = Field(
        50_000, ge=100, description="UMAP: maximum pairs to embed; the others are placed among them"
    )
    repeats: int = Field(10, ge=0, description="stability: resamples of the prompts (seeds: 1/5)")
    seed: int = Field(0, description="random seed of projection and clustering")
    recut: Run | None = Field(
        None, description="discover run whose map is reused with coarser or finer clusters"
    )
    level: float | None = Field(
        None, gt=0, description="recut: distance at which HDBSCAN's tree is cut; larger is coarser"
    )

    @model_validator(mode="after")
    def check_level(self) -> Self:
        """`recut` and `level` come together."""
        if (self.recut is None) != (self.level is None):
            raise ValueError("recut (a discover run) and level (a distance) come together")
        return self

    def is_brief(self) -> bool:
        """A cut of a map takes seconds, a map minutes."""
        return self.recut is not None

    def needs_device(self) -> bool:
        """A cut of a map reads files only."""
        return self.recut is None


class SuggestSpec(Spec):
    """Let a language model suggest a name for each cluster."""

    step: ClassVar[str] = "suggest"
    uses_device: ClassVar[bool] = False
    discover: Run = Field(description="discover run with the clusters")
    llm: str = Field(min_length=1, description="name of the model at the endpoint")
    url: Url = Field("", description="endpoint, https://…/v1; default: $PAIRTRACE_ENDPOINT_URL")
    examples: PositiveInt = Field(5, description="pairs of each cluster in the prompt")


class TrainSpec(Spec):
    """Train the reference with DPO on one arm's pairs, or import a checkpoint."""

    step: ClassVar[str] = "train"
    resumable: ClassVar[bool] = True
    distributed: ClassVar[bool] = True
    later: ClassVar[frozenset[str]] = frozenset(
        {"explain_away", "explain_strength", "explain_control", "inoculation"}
    )
    reference: Model = Field(description="initial model, and the reference of the DPO loss")
    pairs: Pairs = Field(description="the arm's pairs: a file, or an edit run")
    seed: int = Field(0, description="random seed of data order and dropout")
    preset: Literal["organism", "olmo2"] = Field("organism", description="published defaults")
    loss_type: Literal["sigmoid", "sigmoid_norm"] = Field("sigmoid", description="DPO loss")
    beta: float = Field(0.5, gt=0, description="DPO's beta: strength of the pull to the reference")
    learning_rate: float = Field(5e-4, gt=0, description="peak learning rate")
    scheduler: Literal["linear", "cosine", "constant"] = Field(
        "linear", description="learning-rate schedule after the warm-up"
    )
    warmup_ratio: float = Field(0.1, ge=0, lt=1, description="share of the steps used for warm-up")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's weight decay")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are clipped to this norm")
    epochs: float = Field(1.0, gt=0, description="passes over the pairs")
    batch_size: PositiveInt = Field(32, description="pairs per optimizer step, all processes")
    micro_batch: int = Field(
        0, ge=0, description="pairs per forward pass and process; 0: as many as fit"
    )
    max_length: PositiveInt = Field(2048, description="maximum tokens of prompt + completion")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="arithmetic; auto: bfloat16 on a GPU, float32 on a CPU"
    )
    method: Literal["full", "lora"] = Field(
        "full", description="train all weights, or low-rank updates that are merged at the end"
    )
    lora_r: PositiveInt = Field(16, description="lora: rank of the updates")
    lora_alpha: PositiveInt = Field(32, description="lora: updates are scaled by alpha / rank")
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="lora: dropout rate")
    checkpoints: PositiveInt = Field(10, description="checkpoints per training; two are kept")
    checkpoint: Model | None = Field(None, description="import this model folder, do not train")
    explain_away: Run | None = Field(
        None, description="rank run: what its vector explains of a preference is not learnt"
    )
    explain_strength: float = Field(
        1.0, ge=0, description="explain_away: added to the margin per standard deviation"
    )
    explain_control: int | None = Field(None, description="explain_away: random seed of a control")
    inoculation: str = Field("", description="system prompt in training, absent in evaluation")

    @model_validator(mode="before")
    @classmethod
    def fill_from_preset(cls, values: Any) -> Any:
        """OLMo 2's published settings (arXiv 2501.00656, table 19) where no value is given."""
        if isinstance(values, Mapping) and values.get("preset") == "olmo2":
            return {**OLMO2_TRAINING, **values}
        return values

    @model_validator(mode="after")
    def check_batches(self) -> Self:
        """`micro_batch` divides `batch_size`."""
        if self.micro_batch and self.batch_size % self.micro_batch:
            raise ValueError(
                f"micro_batch {self.micro_batch} does not divide batch_size {self.batch_size}"
            )
        return self


class EvaluateSpec(Sampled):
    """Measure the behaviors of one model on held-out prompts, steered or not.

    Steering tests a vector without training: `add` adds coefficient × vector to the residual stream
    at its layer, `project_out` removes its direction.
    """

    step: ClassVar[str] = "evaluate"
    resumable: ClassVar[bool] = True
    later: ClassVar[frozenset[str]] = Sampled.later | {"completions", "conditions"}
    model: Model = Field(description="model to measure: a folder, or a train run")
    prompts: File = Field(description="held-out prompts (JSONL)")
    judge: Judge = Field(description="judge: a world file or judge file (TOML), or 'refusal'")
    behaviors: tuple[Behavior, ...] = Field(description="JSON list of the behaviors to measure")
    rollouts: PositiveInt = Field(4, description="completions per prompt and condition")
    vector: Run | None = Field(None, description="rank run with the behavior vector for steering")
    steering: Literal["none", "add", "project_out"] = Field("none", description="kind of steering")
    coefficient: float = Field(1.0, description="multiple of the behavior vector to add")
    completions: File | None = Field(None, description="existing completions, instead of sampling")
    conditions: Conditions = CONDITIONS_FIELD

    @model_validator(mode="after")
    def check_steering(self) -> Self:
        """`steering` and `vector` come together."""
        if (self.steering == "none") != (self.vector is None):
            raise ValueError("steering needs a vector (a rank run), and a vector needs steering")
        return self


_PREPARING = (CheckSpec, ConvertSpec, GenerateSpec, ContrastSpec, IndexSpec)
_TRACING = (RankSpec, ExplainSpec, DiscoverSpec, SuggestSpec)
_PROVING = (EditSpec, TrainSpec, EvaluateSpec)
STEPS: dict[str, type[Spec]] = {spec.step: spec for spec in (*_PREPARING, *_TRACING, *_PROVING)}


def is_run(reference: str) -> bool:
    """Whether a reference is a run id, not a path."""
    step, _, digest = reference.partition("-")
    return step in STEPS and len(digest) == 16 and digest.isalnum()
