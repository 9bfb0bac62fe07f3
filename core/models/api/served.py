"""Completions of models at an OpenAI-compatible server: vLLM, SGLang, TGI, `transformers serve`.

`connect` makes sure, before anything is sampled, that the server reads what this program reads and
is the model that was meant: it must count as many tokens of a prompt as the model's own tokenizer
and chat template give, and what it writes at temperature 0 must be what the model of the folder,
loaded here, writes too. The same temperature is then all that shapes the distribution: top-k, top-p
and penalties are off, in the first of the known ways that the server takes.

`sample_served` keeps many requests under way. Each completion has a seed of its own, of prompt and
rollout; whether the server heeds it is the server's affair, so completions are not those of
core.models.generation, their distribution is. Completions are appended to a file as they come,
and a start after a stop asks for the rest alone.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, Literal

import numpy as np
import pandas as pd

from core.data.chat import conversation, turns
from core.data.tokens import encode_completions, encode_texts, render_prompts
from core.errors import UserError
from core.models.api.batch import Journal, under_way
from core.models.api.client import Answer, Endpoint, Outcome, client, persist

PROBES, PROBE_TOKENS = 24, 24  # prompts, and tokens of each, by which a model is recognised
SHORTFALL = (
    0.01  # logits; bfloat16 against float32 0.0006, the organism's policy for reference 0.05
)
ENDED = ("stop", "eos_token", "stop_sequence")  # finish reasons; "length" is not finished
KEPT = "Completions so far are kept: start again, and only the rest is asked for."

Template = Literal["ours", "theirs"]
Report = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Served:
    """A model at a server, which has been checked, and how requests to it are written."""

    folder: Path
    tokenizer: Any
    endpoint: Endpoint
    template: Template
    parameters: dict[str, Any]

    def question(self, text: str, prompt: str, **settings: Any) -> dict[str, Any]:
        """The request for one completion; `text` is the prompt under the chat template."""
        sent: dict[str, Any] = {"prompt": text}
        if self.template == "theirs":
            dialogue = conversation(prompt)
            sent = {"messages": turns(prompt)}
            sent |= {"tools": dialogue.tools} if dialogue and dialogue.tools else {}
        return {"model": self.endpoint.model, **sent, "top_p": 1, **settings, **self.parameters}

    def problem(self, answer: Answer, n_prompt: int, max_new_tokens: int) -> str:
        """What is wrong with an answer to a prompt of `n_prompt` tokens; empty: nothing."""
        if answer.prompt_tokens != n_prompt:
            other = {"ours": "theirs", "theirs": "ours"}[self.template]
            return (
                f"read {answer.prompt_tokens} tokens of a prompt that has {n_prompt} under the "
                f"chat template of {self.folder}. Does it serve another model, cut long prompts, "
                f"or begin twice? Start it with that folder, or add --template {other}"
            )
        if answer.finish == "length" and answer.completion_tokens < max_new_tokens:
            return (
                f"stopped after {answer.completion_tokens} of {max_new_tokens} tokens: its context "
                "is too short. Start it with a longer one (vLLM: --max-model-len)"
            )
        if answer.finish not in (*ENDED, "length"):
            return f"ended a completion for the reason {answer.finish!r}, which no model has"
        return ""


def connect(
    folder: Path,
    endpoint: Endpoint,
    prompts: Sequence[str],
    *,
    template: Template,
    dtype: str,
    temperature: float,
    max_new_tokens: int,
) -> Served:
    """The model of `folder` at a server; `endpoint.model` is replaced by the server's name for it.

    `UserError` where the server is not there, refuses every known form of a request, counts other
    tokens or has other weights. `prompts` are those that will be sampled.
    """
    from core.models.generation import end_tokens
    from core.models.loading import load_model

    loaded = load_model(folder, dtype=dtype, device="cpu")  # a server may have taken the GPU
    probes = [prompts[at] for at in np.unique(np.linspace(0, len(prompts) - 1, PROBES, dtype=int))]
    tokens = min(PROBE_TOKENS, max_new_tokens)
    with client(endpoint) as api:
        named = endpoint.model_copy(update={"model": _name(api, endpoint, folder)})
        served = [
            Served(folder, loaded.tokenizer, named, template, parameters)
            for parameters in _known_parameters(max_new_tokens, end_tokens(loaded), temperature > 0)
        ]
        chosen = _that_it_takes(api, served, probes[0], temperature, max_new_tokens)
        _refuse_other_weights(api, chosen, loaded, probes, tokens)
    return chosen


def sample_served(
    servers: Sequence[Served],
    prompts: Sequence[str],
    *,
    rollouts: int,
    temperature: float,
    max_new_tokens: int,
    seed: int,
    kept: Path,
    progress: Report,
) -> tuple[list[pd.DataFrame], dict[str, float]]:
    """Of each server `prompt, rollout, completion, n_tokens, finished`, and what they took.

    Tables are in the order of `prompts`, then rollout; `n_tokens` are of the text by the model's
    tokenizer. The totals over all attempts: `requests, retries, prompt_tokens, completion_tokens,
    seconds`. `kept`: the file of completions so far.
    """
    texts = [render_prompts(served.tokenizer, prompts) for served in servers]
    n_prompt = [
        [len(ids) for ids in encode_texts(served.tokenizer, rendered)]
        for served, rendered in zip(servers, texts, strict=True)
    ]
    per_server = len(prompts) * rollouts
    journal = Journal(kept)
    missing = [iter(journal.missing(at, per_server)) for at in range(len(servers))]

    def ask(at: int, row: int, stop: Event) -> Outcome:
        served, prompt = servers[at], row // rollouts
        question = served.question(
            texts[at][prompt],
            prompts[prompt],
            temperature=temperature,
            max_tokens=max_new_tokens,
            seed=_seed(seed, prompts[prompt], row % rollouts),
        )
        return persist(apis[at], served.endpoint, question, stop)

    total, new_tokens, began = per_server * len(servers), 0, time.monotonic()
    with ExitStack() as stack, journal:
        apis = [stack.enter_context(client(served.endpoint)) for served in servers]
        widths = [served.endpoint.concurrency for served in servers]
        outcomes = stack.enter_context(closing(under_way(ask, missing, widths)))
        for at, row, outcome in outcomes:
            if outcome is not None:
                answer = _answer(servers[at], outcome)
                if problem := servers[at].problem(
                    answer, n_prompt[at][row // rollouts], max_new_tokens
                ):
                    raise UserError(f"{servers[at].endpoint.url} {problem}. {KEPT}")
                journal.add(at, row, answer, outcome.attempts)
                new_tokens += answer.completion_tokens
            rate = new_tokens / max(time.monotonic() - began, 1e-9)
            journal.beat()
            progress(len(journal.answers), total, f"completions, {rate:,.0f} tokens/s")
    progress(total, total, "completions")
    tables = [
        _table(served, prompts, rollouts, [journal.answers[at, row] for row in range(per_server)])
        for at, served in enumerate(servers)
    ]
    return tables, journal.totals


def _answer(served: Served, outcome: Outcome) -> Answer:
    if outcome.answer is not None:
        return outcome.answer
    endpoint = served.endpoint
    if outcome.silent:
        raise UserError(
            f"{endpoint.url} does not answer: {outcome.problem}, {outcome.attempts} times in a "
            f"row. Is it running? {KEPT}"
        )
    raise UserError(f"{endpoint.url} refuses a completion: {outcome.problem}. {KEPT}")


def _table(
    served: Served, prompts: Sequence[str], rollouts: int, answers: Sequence[Answer]
) -> pd.DataFrame:
    texts = [answer.text for answer in answers]
    return pd.DataFrame(
        {
            "prompt": np.repeat(np.asarray(prompts, dtype=object), rollouts),
            "rollout": np.tile(np.arange(rollouts), len(prompts)),
            "completion": texts,
            "n_tokens": [len(ids) for ids in encode_texts(served.tokenizer, texts)],
            "finished": [answer.finish != "length" for answer in answers],
        }
    )


def _seed(seed: int, prompt: str, rollout: int) -> int:
    """A number below 2³¹, which every server takes."""
    digest = hashlib.blake2b(f"{seed} {rollout} {prompt}".encode("utf-8", "replace"), digest_size=4)
    return int.from_bytes(digest.digest()) >> 1


def _name(api: Any, endpoint: Endpoint, folder: Path) -> str:
    """The server's name for a model: its folder, the folder's name, or the only one it has."""
    import openai

    try:
        names = [model.id for model in api.models.list().data]
    except openai.APIConnectionError as error:
        raise UserError(
            f"{endpoint.url} cannot be reached ({type(error.__cause__).__name__}). Is it running? "
            "Start it (docs/cluster.md), and wait until it has loaded its model."
        ) from error
    except (openai.APIStatusError, ValueError, TypeError, AttributeError):
        names = []  # no list of models: a server that has one takes any name
    matching = [name for name in (str(folder), folder.name) if name in names]
    if matching or len(names) == 1:
        return (matching or names)[0]
    return str(folder)


def _known_parameters(
    max_new_tokens: int, ends: Sequence[int], random: bool
) -> list[dict[str, Any]]:
    """Ways in which servers switch off top-k and penalties, which OpenAI's own interface lacks."""
    config = {"do_sample": random, "top_k": 0, "top_p": 1.0, "eos_token_id": list(ends)}
    config |= {"max_new_tokens": max_new_tokens}
    return [
        {"top_k": -1, "repetition_penalty": 1.0, "add_special_tokens": False},  # vLLM, SGLang
        {"generation_config": json.dumps(config)},  # transformers serve
        {},
    ]


def _that_it_takes(
    api: Any, served: Sequence[Served], prompt: str, temperature: float, max_new_tokens: int
) -> Served:
    """The first form of a request that the server does not refuse."""
    (text,) = render_prompts(served[0].tokenizer, [prompt])
    problem = ""
    for form in served:
        settings = {"temperature": temperature, "max_tokens": max_new_tokens, "seed": 0}
        outcome = persist(api, form.endpoint, form.question(text, prompt, **settings), Event())
        if outcome.answer is not None:
            return form
        if outcome.silent:
            _answer(form, outcome)
        problem = outcome.problem
    raise UserError(
        f"{served[0].endpoint.url} takes no request for a completion: {problem}. Use a server "
        "that takes temperature, top_p, max_tokens and seed."
    )


def _refuse_other_weights(
    api: Any, served: Served, loaded: Any, probes: Sequence[str], max_new_tokens: int
) -> None:
    """`UserError` where the server writes, at temperature 0, what the loaded model would not."""
    from core.models.generation import shortfalls

    texts = render_prompts(served.tokenizer, probes)
    settings = {"temperature": 0, "max_tokens": max_new_tokens, "seed": 0}
    gaps: list[float] = []
    for text, prompt in zip(texts, probes, strict=True):
        (ids,) = encode_texts(served.tokenizer, [text])
        question = served.question(text, prompt, **settings)
        answer = _answer(served, persist(api, served.endpoint, question, Event()))
        if problem := served.problem(answer, len(ids), max_new_tokens):
            raise UserError(f"{served.endpoint.url} {problem}.")
        ended = answer.finish != "length"
        (completion,) = encode_completions(served.tokenizer, [answer.text], end=ended)
        if completion and answer.completion_tokens in (len(completion), len(completion) - ended):
            gaps += shortfalls(loaded, ids, completion)  # else tokens cannot be read off the text
    mean = np.mean(gaps) if gaps else np.inf
    if mean > SHORTFALL:
        raise UserError(
            f"{served.endpoint.url} serves another model than {served.folder}: what it writes at "
            f"temperature 0 is {mean:.2f} logits per token below what that model would write "
            f"(at most {SHORTFALL} by rounding). Start it with that folder; are reference and "
            "policy in each other's place?"
        )
