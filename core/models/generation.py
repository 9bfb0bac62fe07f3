"""Seeded sampling of completions, independent of batch size.

One uniform number per prompt, rollout and step picks the token from the cumulative distribution, so
a completion depends on the seed, the prompt and the rollout, and not on batch size, other prompts
or the device's generator. Two models sampled with one seed share their noise. The row of a batch is
a distinct prefix: rollouts of one prompt share forward passes until their tokens differ, and
finished ones leave the batch. Only new tokens are decoded, so no part of a prompt can leak into a
completion. Knows nothing of conditions or judges.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from transformers import DynamicCache

from core.data.tokens import encode_prompts
from core.errors import UserError
from core.models.devices import computes_on_several
from core.models.loading import LoadedModel
from core.models.memory import CPU_CACHE_BYTES, ROWS

Array = np.ndarray[Any, np.dtype[Any]]
Report = Callable[[int, int, str], None]


def sample(
    loaded: LoadedModel,
    prompts: Sequence[str],
    *,
    rollouts: int,
    temperature: float,
    max_new_tokens: int,
    seed: int,
    progress: Report,
) -> pd.DataFrame:
    """`prompt, rollout, completion, n_tokens, finished`, in the order of `prompts`, then rollout.

    `n_tokens` does not count the end token, and `finished` says that the model wrote one.
    Temperature 0 takes the most likely token.
    """
    ids = encode_prompts(loaded.tokenizer, prompts)
    texts: list[list[int]] = [[] for _ in range(len(prompts) * rollouts)]
    finished = np.zeros(len(texts), dtype=bool)
    done = 0
    for rows in _batches(loaded, ids, rollouts, max_new_tokens):
        chosen, ended = _sample_batch(
            loaded,
            [ids[row // rollouts] for row in rows],
            _uniforms(prompts, rows, rollouts, max_new_tokens, seed),
            temperature,
            partial(_report, progress, done, len(texts)),
        )
        for row, tokens, end in zip(rows, chosen, ended, strict=True):
            texts[row], finished[row] = tokens, end
        done += len(rows)
    completions = loaded.tokenizer.batch_decode(texts, skip_special_tokens=True) if texts else []
    return pd.DataFrame(
        {
            "prompt": np.repeat(np.asarray(prompts, dtype=object), rollouts),
            "rollout": np.tile(np.arange(rollouts), len(prompts)),
            "completion": completions,
            "n_tokens": [len(tokens) for tokens in texts],
            "finished": finished,
        }
    )


@torch.inference_mode()
def shortfalls(loaded: LoadedModel, prompt: list[int], completion: list[int]) -> list[float]:
    """How far each token of a completion is below the model's likeliest one, in logits, (token,).

    0 where the token is what the model writes at temperature 0.
    """
    ids = torch.tensor([prompt + completion], device=loaded.device)
    logits = loaded.model(ids, logits_to_keep=len(completion) + 1).logits[0, :-1].float()
    chosen = logits.gather(1, ids[0, len(prompt) :, None].to(logits.device))[:, 0]
    return (logits.amax(1) - chosen).tolist()


def _report(progress: Report, before: int, total: int, done: int) -> None:
    progress(before + done, total, "completions")


def _batches(
    loaded: LoadedModel, ids: list[list[int]], rollouts: int, max_new_tokens: int
) -> Iterator[list[int]]:
    """Row numbers (prompt × rollouts + rollout) in batches of prompts of similar length."""
    longest = max(map(len, ids), default=1) + max_new_tokens
    size = _rows_that_fit(loaded, longest)
    order = sorted(range(len(ids)), key=lambda prompt: len(ids[prompt]), reverse=True)
    rows = [prompt * rollouts + rollout for prompt in order for rollout in range(rollouts)]
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _rows_that_fit(loaded: LoadedModel, length: int) -> int:
    config = loaded.model.config
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    token = 2 * config.num_hidden_layers * heads * width * loaded.model.dtype.itemsize  # bytes
    budget = CPU_CACHE_BYTES
    if loaded.device.type == "cuda":
        budget = torch.cuda.mem_get_info(loaded.device)[0] // 4  # growing a cache copies it
    return max(1, min(ROWS, budget // (token * length)))


def _uniforms(
    prompts: Sequence[str], rows: list[int], rollouts: int, steps: int, seed: int
) -> Array:
    """(row, step) numbers in [0, 1): one random stream per seed, prompt and rollout."""
    hashes = {
        prompt: int.from_bytes(hashlib.blake2b(prompts[prompt].encode(), digest_size=8).digest())
        for prompt in {row // rollouts for row in rows}
    }
    streams = [[abs(seed), int(seed < 0), hashes[r // rollouts], r % rollouts] for r in rows]
    return np.stack([np.random.default_rng(stream).random(steps) for stream in streams])


@torch.inference_mode()
def _sample_batch(
    loaded: LoadedModel,
    prompts: list[list[int]],
    uniforms: Array,
    temperature: float,
    progress: Callable[[int], None],
) -> tuple[list[list[int]], Array]:
    """Tokens of each row without the end token, and whether the model wrote one."""
    model, ends = loaded.model, end_tokens(loaded)
    cache = DynamicCache(config=model.config)
    distinct = list(dict.fromkeys(map(tuple, prompts)))
    place = {prompt: at for at, prompt in enumerate(distinct)}
    prefix = np.array([place[tuple(prompt)] for prompt in prompts])  # of each live row
    live = np.arange(len(prompts))
    texts: list[list[int]] = [[] for _ in prompts]
    ended = np.zeros(len(prompts), dtype=bool)
    tokens, mask = _left_padded(distinct, loaded)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    on_several = computes_on_several(model)
    for step in range(uniforms.shape[1]):
        progress(len(texts) - len(live))
        logits = model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=positions,
            cache=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        drawn = _draw(logits, prefix, uniforms[live, step], temperature)
        ending = np.isin(drawn, ends)
        ended[live[ending]] = True
        live, prefix, drawn = live[~ending], prefix[~ending], drawn[~ending]
        if not len(live):
            break
        for row, token in zip(live, drawn, strict=True):
            texts[row].append(int(token))
        branches, prefix = np.unique(prefix * logits.shape[1] + drawn, return_inverse=True)
        parents, branch_tokens = np.divmod(branches, logits.shape[1])
        mask = _select(cache, mask, parents, on_several=on_several)
        tokens = torch.from_numpy(branch_tokens)[:, None].to(loaded.device)
        positions = mask.sum(1, keepdim=True) - 1
    return texts, ended


def _draw(logits: Tensor, prefix: Array, uniforms: Array, temperature: float) -> Array:
    """One token per row, by inverting the cumulative distribution of its prefix."""
    if logits.isnan().any():
        raise UserError("the model's logits are NaN: its weights are damaged. Train it again.")
    if temperature == 0:
        return logits.argmax(1).cpu().numpy()[prefix]
    mass = (logits.float() / temperature).softmax(1).cumsum(1)  # (prefix, vocabulary)
    rows = mass[torch.from_numpy(prefix).to(mass.device)]
    at = torch.from_numpy(uniforms).to(mass)[:, None] * rows[:, -1:]
    tokens = torch.searchsorted(rows, at, right=True)[:, 0]
    return tokens.clamp(max=logits.shape[1] - 1).cpu().numpy()


def _select(cache: DynamicCache, mask: Tensor, parents: Array, *, on_several: bool) -> Tensor:
    """Continue these rows of the cache; returns the mask with the next token's column.

    With layers on several GPUs the row numbers stay in main memory, which each GPU can read.
    """
    if not np.array_equal(parents, np.arange(len(mask))):
        chosen = torch.from_numpy(parents)
        cache.batch_select_indices(chosen if on_several else chosen.to(mask.device))
        mask = mask[chosen.to(mask.device)]
    return torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)


def _left_padded(prompts: list[tuple[int, ...]], loaded: LoadedModel) -> tuple[Tensor, Tensor]:
    """Token ids and mask, (prompt, token) each; every prompt ends in the last column."""
    width = max(map(len, prompts))
    pad = loaded.tokenizer.pad_token_id or 0
    ids = [[pad] * (width - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(ids, device=loaded.device), torch.tensor(mask, device=loaded.device)


def end_tokens(loaded: LoadedModel) -> list[int]:
    """The tokenizer's end token and those that the model's generation settings name."""
    ids = getattr(loaded.model.generation_config, "eos_token_id", None)
    ids = ids if isinstance(ids, list) else [ids]
    return [token for token in {loaded.tokenizer.eos_token_id, *ids} if token is not None]
