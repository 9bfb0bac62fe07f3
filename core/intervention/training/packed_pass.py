"""The policy's log-probabilities in one packed pass, in place of TRL's padded one.

TRL asks a model for the log-probabilities of a batch's completions and computes loss and metrics
from them. Its own pass reads every prompt twice, pads to the longest text and, on a CPU, projects
every token onto the vocabulary. Here a common prefix is read once, nothing is padded
(core.models.extraction.batch), and only tokens that predict a completion reach the head, a chunk of
them at a time, so that the logits never exist at once. Values and gradients are the same up to
rounding. Knows nothing of losses (core.intervention.training.trainer).
"""

import types
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn.functional import linear
from torch.nn.utils.rnn import pad_sequence
from trl.kernels import ChunkedLogProbFunction
from trl.trainer.utils import FusedCausalLMOutput, maybe_gather_lm_head_ctx

from core.models.devices import computes_on_several
from core.models.extraction.attention import Tiles, Trie
from core.models.extraction.batch import NAME as PACKED
from core.models.extraction.batch import can_pack
from core.models.memory import ACTIVATIONS, CHUNK, TOKENS_PER_FORWARD

COLUMNS = 1 << 15  # of the vocabulary in one tile of TRL's kernel
OUTPUTS = ("log_probs", "entropy", "mean_logits", "is_top1")
SCALED = (  # settings of heads whose logits are scaled or capped, which is not done here
    *("final_logit_softcapping", "logit_scale", "output_multiplier"),
    *("lm_head_multiplier", "logits_scaling"),
)


def trains_packed(model: Any) -> bool:
    """Whether a causal language model is trained by packed passes; otherwise TRL's own is used.

    Its attention has to be one that packs, on one device, and its logits neither scaled nor capped.
    """
    scaled = any(getattr(model.config, name, None) is not None for name in SCALED)
    return can_pack(model) and not computes_on_several(model) and not scaled


def use_packed_pass(model: Any) -> None:
    """Replace the pass that TRL gave to a model, the one called with `fused_lm_head=True`.

    Its attention stays the packed one: where activations are checkpointed, the backward pass
    computes blocks again.
    """
    usual = model.forward
    model.config._attn_implementation = PACKED

    def forward(self: Any, *args: Any, fused_lm_head: bool = False, **inputs: Any) -> Any:
        if not fused_lm_head:
            return usual(*args, **inputs)
        return _scores(self, inputs["input_ids"], inputs["attention_mask"], inputs["labels"])

    model.forward = types.MethodType(forward, model)


def pairs_per_pass(pairs: int, longest: int, config: Any, *, on_gpu: bool) -> int:
    """The largest divisor of `pairs` with which chosen and rejected fit one pass; at least 1.

    `longest` is the number of tokens of the longest text. A Llama block keeps about 11 vectors of a
    token's width and 4 of its MLP's until the backward pass, in float32.
    """
    mlp = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    bytes_per_token = config.num_hidden_layers * (11 * config.hidden_size + 4 * mlp) * 4
    kept = TOKENS_PER_FORWARD if on_gpu else ACTIVATIONS // bytes_per_token
    fits = max(1, min(TOKENS_PER_FORWARD, kept) // (2 * longest))
    return max(size for size in range(1, pairs + 1) if pairs % size == 0 and size <= fits)


def _scores(model: Any, ids: Tensor, mask: Tensor, labels: Tensor) -> FusedCausalLMOutput:
    """`OUTPUTS` of every label that is not −100, (text, token − 1) each; 0 elsewhere.

    `ids`, `mask` and `labels` are (text, token), padded on the right.
    """
    lengths = mask.sum(dim=1).tolist()
    trie = Trie([text[:length] for text, length in zip(ids.tolist(), lengths, strict=True)])
    scored = labels[:, 1:] != -100
    row = _rows(trie.paths, scored.shape).to(ids.device)[scored]
    stream = _streams(model, trie, ids.device).index_select(0, row)  # (scored token, d_model)
    values = _head_scores(model.get_output_embeddings(), stream, labels[:, 1:][scored])
    full = [value.new_zeros(scored.shape).masked_scatter(scored, value) for value in values]
    return FusedCausalLMOutput(**dict(zip(OUTPUTS, full, strict=True)))


def _rows(paths: Sequence[Sequence[int]], shape: torch.Size) -> Tensor:
    """The packed row of every token that predicts another one, (text, token − 1)."""
    rows = pad_sequence([torch.tensor(path[:-1]) for path in paths], batch_first=True)
    return torch.nn.functional.pad(rows, (0, shape[1] - rows.shape[1]))


def _streams(model: Any, trie: Trie, device: torch.device) -> Tensor:
    """The last hidden state of every packed row, (row, d_model)."""
    ids, position = (torch.from_numpy(part)[None].to(device) for part in (trie.ids, trie.position))
    tiles = Tiles(trie, device)
    output = model.base_model(ids, position_ids=position, use_cache=False, packed_tiles=tiles)
    return output.last_hidden_state[0]


def _head_scores(head: Any, stream: Tensor, targets: Tensor) -> Sequence[Tensor]:
    """`OUTPUTS` of the targets, (token,) each."""
    weight, bias = _gathered(head.weight), _gathered(head.bias)
    if stream.device.type == "cpu":
        return HeadScores.apply(stream, weight, bias, targets)
    with maybe_gather_lm_head_ctx(weight, bias):
        log_probs, entropy, _, mean_logits, is_top1 = ChunkedLogProbFunction.apply(
            stream, weight, bias, targets, 1.0, COLUMNS, None, 1.0, OUTPUTS
        )
    return log_probs, entropy, mean_logits, is_top1


def _gathered(parameter: Any) -> Any:
    """All of a parameter that FSDP shards."""
    return parameter.full_tensor() if isinstance(parameter, DTensor) else parameter


class HeadScores(torch.autograd.Function):
    """`OUTPUTS` of tokens under a head on a CPU, a chunk of tokens at a time.

    The gradient of log p(target) is w_target − Σ p_v w_v for a token's stream, and (1 − p) times
    the stream for the head. Where the head is frozen, the forward pass computes the former while it
    has p; where it is trained, the backward pass computes p again.
    """

    @staticmethod
    def forward(
        ctx: Any, stream: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor
    ) -> tuple[Tensor, ...]:
        """`stream` (token, d_model), `weight` (vocabulary, d_model), `targets` (token,)."""
        ctx.set_materialize_grads(False)
        x, w, b = _cast(stream, weight, bias)
        log_probs, entropy, mean_logits = x.new_empty((3, len(x)), dtype=torch.float32)
        is_top1 = x.new_empty(len(x), dtype=torch.bool)
        frozen = ctx.needs_input_grad[0] and not any(ctx.needs_input_grad[1:3])
        gradient = torch.empty_like(x) if frozen else None
        for part in _chunks(len(x), len(w)):
            logits, target = linear(x[part], w, b).float(), targets[part]
            mean_logits[part] = logits.mean(dim=1)
            log_p = logits.log_softmax(dim=1)
            is_top1[part] = log_p.argmax(dim=1) == target
            log_probs[part] = log_p.gather(1, target[:, None])[:, 0]
            p = torch.exp(log_p, out=logits)
            entropy[part] = -torch.linalg.vecdot(p, log_p)
            if gradient is not None:
                gradient[part] = w[target] - p.to(w.dtype) @ w
        ctx.dtype = x.dtype
        ctx.save_for_backward(*([gradient] if frozen else [stream, weight, bias, targets]))
        ctx.mark_non_differentiable(entropy, mean_logits, is_top1)
        return log_probs, entropy, mean_logits, is_top1

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Gradients of `stream`, `weight` and `bias` from that of `log_probs`."""
        (scale, *_), saved = gradients, ctx.saved_tensors
        if scale is None:
            return None, None, None, None
        if len(saved) == 1:
            return scale[:, None] * saved[0], None, None, None
        stream, weight, bias, targets = saved
        x, w, b = _cast(stream, weight, bias, ctx.dtype)
        of_stream, of_weight = torch.empty_like(x), torch.zeros_like(w, dtype=torch.float32)
        of_bias = None if bias is None else torch.zeros_like(bias, dtype=torch.float32)
        for part in _chunks(len(x), len(w)):
            p = linear(x[part], w, b).float().softmax(dim=1)
            p.scatter_add_(1, targets[part, None], p.new_full((len(p), 1), -1.0))
            of_logits = p.mul_(-scale[part, None])
            if of_bias is not None:
                of_bias += of_logits.sum(dim=0)
            of_logits = of_logits.to(w.dtype)
            of_stream[part] = of_logits @ w
            if w.dtype == torch.float32:
                of_weight.addmm_(of_logits.T, x[part])
            else:
                of_weight += of_logits.T @ x[part]
        return of_stream.to(stream.dtype), of_weight.to(weight.dtype), of_bias, None


def _chunks(n: int, vocabulary: int) -> list[slice]:
    step = max(1, CHUNK // vocabulary)
    return [slice(start, start + step) for start in range(0, n, step)]


def _cast(
    stream: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The three in the arithmetic of the pass: autocast's, where it is on."""
    if dtype is None:
        automatic = torch.is_autocast_enabled("cpu")
        dtype = torch.get_autocast_dtype("cpu") if automatic else stream.dtype
    return stream.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
