"""What is wrong, or odd, with a preference set: counted in one pass, nothing changed.

A *problem* costs the row (it is skipped, with field and reason); a *notice* does not. Token counts
and what a chat template refuses need a model's tokenizer, which is asked about a random sample.
Knows nothing of files beyond the chunks that it is handed.
"""

import hashlib
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from core.data.chat import conversation
from core.data.pairs import TEXTS, Chunk
from core.data.trl_formats import NO_SOURCE

SAMPLE = 2_000  # pairs that are tokenised
LISTED = 100_000  # rows at most that are listed one by one
LOPSIDED = 0.65  # from this share of pairs on, one side is said to be the longer one

Lengths = Callable[[Mapping[str, Any]], Mapping[str, int]]  # tokens per text; 0: refused


class Health(NamedTuple):
    """Counts, then the rows behind them: `row, uid, field, reason, skipped`; `source, n, share`."""

    summary: dict[str, Any]
    rows: pd.DataFrame
    sources: pd.DataFrame


class Examination:
    """Counts while chunks pass by; `health` tells what was found."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[tuple[str, str]] = Counter()
        self.sources: Counter[str] = Counter()
        self.listed: list[tuple[Any, ...]] = []
        self.sample: list[dict[str, Any]] = []
        self.lengths: dict[str, list[int]] = {name: [] for name in TEXTS}
        self._prompts: set[bytes] = set()
        self._contents: set[bytes] = set()
        self._random = random.Random(0)

    def see(self, chunk: Chunk) -> None:
        """Count the rows of a chunk."""
        for row, uid, field, reason in chunk.skipped:
            self.counts["skipped"] += 1
            self.reasons[field, re.sub(r"\d[\d,]*", "…", reason)[:80]] += 1
            self._list(row, uid, field, reason, skipped=True)
        for row, pair in zip(chunk.rows, chunk.pairs, strict=True):
            self._see_pair(row, pair)

    def health(self, lengths: Lengths | None = None, max_length: int = 2048) -> Health:
        """What was found; with `lengths`, also what a model would make of a sample."""
        n = self.counts["pairs"]
        summary: dict[str, Any] = {
            "n_rows": n + self.counts["skipped"],
            "n_pairs": n,
            "n_skipped": self.counts["skipped"],
            **{f"n_{name}": self.counts[name] for name in COUNTED},
            "n_prompts": len(self._prompts),
            "n_sources": len(self.sources),
            "share_chosen_longer": self.counts["chosen_longer"] / n if n else None,
            "characters": {name: _quantiles(self.lengths[name]) for name in TEXTS},
            "reasons": [
                {"field": field, "reason": reason, "n": count}
                for (field, reason), count in self.reasons.most_common(30)
            ],
        }
        if lengths is not None:
            summary |= self._tokens(lengths, max_length)
        summary["advice"] = advice(summary)
        columns = ["row", "uid", "field", "reason", "skipped"]
        sources = pd.DataFrame(self.sources.most_common(), columns=["source", "n"])
        return Health(
            summary,
            pd.DataFrame(self.listed, columns=columns),
            sources.assign(share=sources["n"] / max(n, 1)),
        )

    def _see_pair(self, row: int, pair: Mapping[str, Any]) -> None:
        self.counts["pairs"] += 1
        self.sources[pair["source"]] += 1
        self._keep(dict(pair))
        for name in TEXTS:
            self.lengths[name].append(len(pair[name]))
        held = conversation(pair["prompt"])
        self.counts["conversations"] += held is not None
        self.counts["tools"] += bool(held and held.tools)
        self.counts["no_source"] += pair["source"] == NO_SOURCE
        self.counts["chosen_longer"] += len(pair["chosen"]) > len(pair["rejected"])
        for name, field, reason in self._notices(pair):
            self.counts[name] += 1
            self._list(row, pair["uid"], field, reason, skipped=False)

    def _notices(self, pair: Mapping[str, Any]) -> Iterable[tuple[str, str, str]]:
        texts = [pair[name] for name in TEXTS]
        digest = _digest(texts)
        if digest in self._contents:
            yield "same_text", "chosen", "the same three texts as an earlier row, under another uid"
        if _digest([texts[0], texts[2], texts[1]]) in self._contents:
            yield "contradicted", "chosen", "an earlier row prefers the two texts the other way"
        self._contents.add(digest)
        self._prompts.add(_digest(texts[:1]))
        for name in ("chosen", "rejected"):
            if conversation(pair[name]) is not None:
                yield "long_ends", name, "several turns, or tool calls"
            elif len(texts[0]) > 20 and pair[name].startswith(texts[0]):
                yield "echoes", name, "begins with the prompt; the model would read it twice"

    def _keep(self, pair: dict[str, Any]) -> None:
        """Reservoir sampling: every pair is in the sample with the same probability."""
        n = self.counts["pairs"]
        if len(self.sample) < SAMPLE:
            self.sample.append(pair)
        elif (place := self._random.randrange(n)) < SAMPLE:
            self.sample[place] = pair

    def _tokens(self, lengths: Lengths, max_length: int) -> dict[str, Any]:
        found = pd.DataFrame([dict(lengths(pair)) for pair in self.sample], columns=list(TEXTS))
        total = found["prompt"] + found[["chosen", "rejected"]].max(axis=1)
        refused = found["prompt"] == 0
        return {
            "n_sampled": len(found),
            "max_length": max_length,
            "share_too_long": float((total > max_length).mean()) if len(found) else None,
            "share_refused_by_template": float(refused.mean()) if len(found) else None,
            "tokens": {name: _quantiles(found[name].tolist()) for name in TEXTS},
            "tokens_per_pair": float(found.sum(axis=1).mean()) if len(found) else None,
        }

    def _list(self, row: int, uid: str, field: str, reason: str, *, skipped: bool) -> None:
        if len(self.listed) < LISTED:
            self.listed.append((row, uid, field, reason, skipped))


COUNTED = (
    "same_text",
    "contradicted",
    "echoes",
    "conversations",
    "long_ends",
    "tools",
    "no_source",
)


def examine(
    chunks: Iterable[Chunk], lengths: Lengths | None = None, max_length: int = 2048
) -> Health:
    """The health of a whole file."""
    examination = Examination()
    for chunk in chunks:
        examination.see(chunk)
    return examination.health(lengths, max_length)


def advice(summary: Mapping[str, Any]) -> list[str]:
    """What to do about it, the gravest first; empty where all is well."""
    n, said = summary["n_pairs"], []
    if summary["n_skipped"]:
        share = summary["n_skipped"] / summary["n_rows"]
        said.append(f"{summary['n_skipped']:,} rows ({share:.1%}) are left out; read the reasons.")
    if (summary.get("share_refused_by_template") or 0) > 0:
        share = summary["share_refused_by_template"]
        said.append(f"The chat template refuses {share:.1%} of the prompts; they are left out.")
    if (summary.get("share_too_long") or 0) > 0.01:
        said.append(
            f"{summary['share_too_long']:.1%} of the pairs are longer than {summary['max_length']} "
            "tokens and are left out. Raise max_length if they matter."
        )
    if summary["n_contradicted"]:
        said.append(f"{summary['n_contradicted']:,} pairs are contradicted by an earlier one.")
    if summary["n_same_text"]:
        said.append(f"{summary['n_same_text']:,} pairs repeat an earlier one under another uid.")
    if summary["n_echoes"]:
        said.append(f"{summary['n_echoes']:,} completions begin with their prompt.")
    if n and summary["n_no_source"] == n:
        said.append("No row names its source: controls are then matched on nothing.")
    if n >= 100 and summary["n_sources"] > n / 10:
        said.append(
            f"{summary['n_sources']:,} sources among {n:,} pairs: controls can hardly be matched. "
            "If another column says where pairs come from, map it (--map source=NAME)."
        )
    share = summary["share_chosen_longer"]
    if share is not None and n >= 100 and (share > LOPSIDED or share < 1 - LOPSIDED):
        longer = "chosen" if share > 0.5 else "rejected"
        said.append(
            f"The {longer} text is the longer one in {max(share, 1 - share):.0%} of the pairs: "
            "training teaches length too."
        )
    return said


def _quantiles(values: Sequence[int]) -> dict[str, int] | None:
    if not values:
        return None
    median, p95 = np.quantile(values, [0.5, 0.95])
    return {"median": int(median), "p95": int(p95), "max": int(max(values))}


def _digest(texts: Sequence[str]) -> bytes:
    joined = "\x1f".join(texts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(joined, digest_size=12).digest()
