"""The check step: what is wrong, or odd, with the pairs, before anything is computed with them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.data.pairs import TEXTS, stream_pairs
from core.data.quality import Examination
from core.data.tokens import encode_completions, encode_prompts
from core.models.loading import load_tokenizer
from core.runs.progress import Progress
from core.runs.store import Store
from core.specs.steps import CheckSpec
from core.storage.atomic import write_atomic


def run(spec: CheckSpec, *, store: Store, output: Path, progress: Progress) -> None:
    """Write `summary.json`, `rows.parquet` and `sources.parquet` (docs/architecture.md)."""
    progress(0, 0, "reading pairs")
    examination, seen = Examination(), 0
    for chunk in stream_pairs(store.pairs(spec.pairs)):
        examination.see(chunk)
        seen += len(chunk.pairs) + len(chunk.skipped)
        progress(seen, 0, "rows")
    if spec.model is None:
        health = examination.health()
    else:
        tokenizer = load_tokenizer(store.model(spec.model))
        health = examination.health(lambda pair: _lengths(tokenizer, pair), spec.max_length)
    health.rows.to_parquet(output / "rows.parquet", index=False)
    health.sources.to_parquet(output / "sources.parquet", index=False)
    write_atomic(output / "summary.json", json.dumps(health.summary, indent=2) + "\n")
    progress(seen, seen, "checked")


def _lengths(tokenizer: Any, pair: Mapping[str, Any]) -> dict[str, int]:
    """Tokens of a pair's three texts; none where the template refuses the prompt."""
    (prompt,) = encode_prompts(tokenizer, [pair["prompt"]], strict=False)
    sides = encode_completions(tokenizer, [pair["chosen"], pair["rejected"]])
    return dict(zip(TEXTS, map(len, [prompt, *sides]), strict=True))
