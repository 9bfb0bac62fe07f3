"""What a preference set contains and what is wrong with it: preview, size, health.

Health is counted in one pass and changes nothing. A *problem* costs the row (it is skipped, with
field and reason); a *notice* does not. Token counts and what a chat template refuses need a model's
tokenizer, which is asked about a random sample.
"""

import hashlib
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from core.data.chat import conversation
from core.data.pairs import SKIPPED, TEXTS, Chunk, check_columns, pair_of
from core.data.readers import files, kind, read_records
from core.data.trl_formats import NO_SOURCE

SAMPLE = 2_000  # pairs that are tokenised
LISTED = 100_000  # rows at most that are listed one by one
LOPSIDED = 0.65  # from this share of pairs on, one side is reported as the longer one
UNPACKED = 3  # characters per byte of gzip
NOTICES = [
    "same_text",
    "contradicted",
    "echoes",
    "conversations",
    "long_ends",
    "tools",
    "no_source",
]

Lengths = Callable[[Mapping[str, Any]], Mapping[str, int]]  # tokens per text; 0: refused


class Preview(NamedTuple):
    """The first rows of a file: its columns, the pairs they make, and the skipped rows."""

    columns: list[str]
    pairs: pd.DataFrame
    skipped: pd.DataFrame


class Size(NamedTuple):
    """How large a set is: exact for Parquet, else from the first rows and the file's size."""

    rows: int
    exact: bool
    characters_per_pair: float
    characters_per_answer: float  # of the chosen text


class Health(NamedTuple):
    """Counts, then the rows behind them: `row, uid, field, reason, skipped`; `source, n, share`."""

    summary: dict[str, Any]
    rows: pd.DataFrame
    sources: pd.DataFrame


def preview(path: Path, columns: Mapping[str, str] | None = None, n: int = 5) -> Preview:
    """What the first `n` rows become, under a mapping of columns as in `read_pairs`."""
    columns = check_columns(columns or {})
    lines = list(islice(read_records(path), n))
    names = list(dict.fromkeys(name for line in lines for name in line.value))
    rows = [pair_of(line, columns) for line in lines]
    return Preview(
        names,
        pd.DataFrame([row for row in rows if isinstance(row, dict)]),
        pd.DataFrame([row for row in rows if isinstance(row, tuple)], columns=SKIPPED),
    )


def size(path: Path, columns: Mapping[str, str] | None = None, n: int = 200) -> Size:
    """The size of a set, without reading all of it."""
    start = preview(path, columns, n)
    texts = start.pairs[list(TEXTS)] if len(start.pairs) else None
    mean = 0.0 if texts is None else float(texts.map(len).sum(axis=1).mean())
    answer = 0.0 if texts is None else float(texts["chosen"].map(len).mean())
    parts = files(path)
    if all(kind(part) == ".parquet" for part in parts):
        return Size(sum(pq.read_metadata(part).num_rows for part in parts), True, mean, answer)
    rows = len(start.pairs) + len(start.skipped)
    if rows < n:
        return Size(rows, True, mean, answer)
    total = sum(part.stat().st_size * (UNPACKED if part.suffix == ".gz" else 1) for part in parts)
    return Size(int(total / max(mean, 1.0)), False, mean, answer)


class Examination:
    """Counts chunks of a file as they are read; `health` reports the result."""

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
        """The counts; with `lengths`, also what a model would make of a sample."""
        n = self.counts["pairs"]
        summary: dict[str, Any] = {
            "n_rows": n + self.counts["skipped"],
            "n_pairs": n,
            "n_skipped": self.counts["skipped"],
            **{f"n_{name}": self.counts[name] for name in NOTICES},
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
        summary["advice"] = _advice(summary)
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
        self._add_to_sample(dict(pair))
        for name in TEXTS:
            self.lengths[name].append(len(pair[name]))
        prompt = conversation(pair["prompt"])
        self.counts["conversations"] += prompt is not None
        self.counts["tools"] += bool(prompt and prompt.tools)
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

    def _add_to_sample(self, pair: dict[str, Any]) -> None:
        """Reservoir sampling: every pair is in the sample with the same probability."""
        n = self.counts["pairs"]
        if len(self.sample) < SAMPLE:
            self.sample.append(pair)
        elif (place := self._random.randrange(n)) < SAMPLE:
            self.sample[place] = pair

    def _tokens(self, lengths: Lengths, max_length: int) -> dict[str, Any]:
        counts = pd.DataFrame([dict(lengths(pair)) for pair in self.sample], columns=list(TEXTS))
        n = len(counts)
        total = counts["prompt"] + counts[["chosen", "rejected"]].max(axis=1)
        return {
            "n_sampled": n,
            "max_length": max_length,
            "share_too_long": float((total > max_length).mean()) if n else None,
            "share_refused_by_template": float((counts["prompt"] == 0).mean()) if n else None,
            "tokens": {name: _quantiles(counts[name].tolist()) for name in TEXTS},
            "tokens_per_pair": float(counts.sum(axis=1).mean()) if n else None,
        }

    def _list(self, row: int, uid: str, field: str, reason: str, *, skipped: bool) -> None:
        if len(self.listed) < LISTED:
            self.listed.append((row, uid, field, reason, skipped))


def _advice(summary: Mapping[str, Any]) -> list[str]:
    """What to do about it, the most serious first; empty where nothing is wrong."""
    n = summary["n_pairs"]
    advice: list[str] = []
    if summary["n_skipped"]:
        share = summary["n_skipped"] / summary["n_rows"]
        advice.append(
            f"{summary['n_skipped']:,} rows ({share:.1%}) are left out; read the reasons."
        )
    if (summary.get("share_refused_by_template") or 0) > 0:
        share = summary["share_refused_by_template"]
        advice.append(f"The chat template refuses {share:.1%} of the prompts; they are left out.")
    if (summary.get("share_too_long") or 0) > 0.01:
        advice.append(
            f"{summary['share_too_long']:.1%} of the pairs are longer than {summary['max_length']} "
            "tokens and are left out. Raise max_length if they matter."
        )
    if summary["n_contradicted"]:
        advice.append(f"{summary['n_contradicted']:,} pairs are contradicted by an earlier one.")
    if summary["n_same_text"]:
        advice.append(f"{summary['n_same_text']:,} pairs repeat an earlier one under another uid.")
    if summary["n_echoes"]:
        advice.append(f"{summary['n_echoes']:,} completions begin with their prompt.")
    if n and summary["n_no_source"] == n:
        advice.append("No row names its source: controls are then matched on nothing.")
    if n >= 100 and summary["n_sources"] > n / 10:
        advice.append(
            f"{summary['n_sources']:,} sources among {n:,} pairs: controls can hardly be matched. "
            "If another column says where pairs come from, map it (--map source=NAME)."
        )
    share = summary["share_chosen_longer"]
    if share is not None and n >= 100 and (share > LOPSIDED or share < 1 - LOPSIDED):
        longer = "chosen" if share > 0.5 else "rejected"
        advice.append(
            f"The {longer} text is the longer one in {max(share, 1 - share):.0%} of the pairs: "
            "training teaches length too."
        )
    return advice


def _quantiles(values: Sequence[int]) -> dict[str, int] | None:
    if not values:
        return None
    median, p95 = np.quantile(values, [0.5, 0.95])
    return {"median": int(median), "p95": int(p95), "max": int(max(values))}


def _digest(texts: Sequence[str]) -> bytes:
    joined = "\x1f".join(texts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(joined, digest_size=12).digest()
