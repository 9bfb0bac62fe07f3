"""The check step: quality of the pairs, before anything is computed with them."""

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
from core.steps.shared import write_health


def run(spec: CheckSpec, *, store: Store, output: Path, progress: Progress) -> None:
    """Write `summary.json`, `rows.parquet` and `sources.parquet` (docs/architecture.md)."""
    progress(0, 0, "reading pairs")
    examination, n_rows = Examination(), 0
    for chunk in stream_pairs(store.pairs(spec.pairs)):
        examination.see(chunk)
        n_rows += len(chunk.pairs) + len(chunk.skipped)
        progress(n_rows, 0, "rows")
    if spec.model is None:
        health = examination.health()
    else:
        tokenizer = load_tokenizer(store.model(spec.model))
        health = examination.health(lambda pair: _lengths(tokenizer, pair), spec.max_length)
    write_health(output, health)
    progress(n_rows, n_rows, "checked")


def _lengths(tokenizer: Any, pair: Mapping[str, Any]) -> dict[str, int]:
    """Tokens of a pair's three texts; 0 for a prompt that the chat template refuses."""
    (prompt,) = encode_prompts(tokenizer, [pair["prompt"]], strict=False)
    sides = encode_completions(tokenizer, [pair["chosen"], pair["rejected"]])
    return dict(zip(TEXTS, map(len, [prompt, *sides]), strict=True))
