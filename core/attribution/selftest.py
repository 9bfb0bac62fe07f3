"""Does a model give the vectors it should, on this device? Tested on a few pairs.

- packed pass: its means are those of the library's own attention, one completion at a time
- batch invariance: pairs that are read together and each alone give the same means
- determinism: the same pass twice gives the same numbers
- rank agreement: cosines between pairs have the same order as in float32

Errors are relative, ‖x − y‖ / ‖y‖ of a mean, the largest of all prompts, completions and layers.
Bounds are some times what sound models measure (float32 10⁻⁶, bfloat16 0.005 to 0.010) and below
what wrong positions in a batch give (0.05 to 0.5). What was measured is kept by model, arithmetic,
processor and libraries, so that an index tests a model that it meets for the first time. Loads
torch only where it computes, since pages read what is kept.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.geometry import cosines
from core.models.memory import Shape, free_bytes
from core.storage.atomic import write_atomic

if TYPE_CHECKING:
    from core.models.extraction.activations import Means
    from core.models.extraction.batch import Prompted

ERRORS = {"float32": 1e-4, "float16": 0.01, "bfloat16": 0.03}  # at most
AGREEMENT = 0.99  # Spearman's ρ, at least
PAIRS, FIRST_PAIRS = 32, 8  # of the command, and of an index that meets a model
LEAST_PAIRS = 4  # with fewer there is no order to speak of
KEPT = "selftests.json"
LIBRARIES = ("torch", "transformers")

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Check:
    """One thing tested; `measured` is None where it is no finite number, which fails."""

    check: str
    dtype: str
    measured: float | None
    bound: str
    passed: bool

    def in_words(self) -> str:
        """What failed, with the numbers."""
        return f"{self.check} in {self.dtype}: {self.in_numbers()}, where {self.bound} is right"

    def in_numbers(self) -> str:
        """What was measured, in three digits."""
        return "not finite" if self.measured is None else f"{self.measured:.3g}"


def selftest(
    folder: Path,
    items: Sequence["Prompted"],
    layers: Sequence[int],
    *,
    dtypes: Sequence[str],
    progress: Progress = lambda *_: None,
) -> list[Check]:
    """Every check of a model folder in each of `dtypes`, on the device of this process.

    Each item has a prompt and the chosen and rejected completions of one or more pairs. Rank
    agreement is left out for fewer than `LEAST_PAIRS` pairs, and where the model in float32 would
    take more than half of the free memory.
    """
    from core.models.loading import on_cores

    in_float32 = "float32" in dtypes or _fits(folder, max(layers))
    order = [*dict.fromkeys((*(["float32"] if in_float32 else []), *dtypes))]
    checks: list[Check] = []
    expected = None
    for number, dtype in enumerate(order):
        progress(number, len(order))
        with on_cores(1):
            means, tested = _test(folder, items, layers, dtype, wanted=dtype in dtypes)
        checks += tested
        if dtype == "float32":
            expected = means
        elif expected is not None and len(means.completion) >= 2 * LEAST_PAIRS:
            agreement = _finite(_rank_correlation(means, expected))
            passed = agreement is not None and agreement >= AGREEMENT
            bound = f"at least {AGREEMENT}"
            checks.append(Check("rank agreement with float32", dtype, agreement, bound, passed))
    progress(len(order), len(order))
    return checks


def first_contact(
    folder: Path,
    model_hash: str,
    items: Sequence["Prompted"],
    layers: Sequence[int],
    dtype: str,
    cache: Path,
    progress: Progress,
) -> list[str]:
    """Test a model that was not tested yet in this arithmetic, here; what failed, in words.

    `cache` is the workspace's folder of caches. Costs one reading of the items without packing,
    three with, and one more in float32 for other arithmetics, with a loading of the model for each.
    """
    kept, key = _read(cache / KEPT), _key(model_hash, dtype)
    if key not in kept:
        keep(cache, model_hash, selftest(folder, items, layers, dtypes=[dtype], progress=progress))
    return doubts(cache, model_hash, dtype)


def keep(cache: Path, model_hash: str, checks: Iterable[Check]) -> None:
    """Keep what was measured; if it cannot be written, the next index tests again."""
    by_dtype: dict[str, list[Check]] = {}
    for check in checks:
        by_dtype.setdefault(check.dtype, []).append(check)
    kept = _read(cache / KEPT)
    kept |= {_key(model_hash, dtype): tested for dtype, tested in by_dtype.items()}
    content = {key: [asdict(check) for check in tested] for key, tested in kept.items()}
    with suppress(OSError):
        write_atomic(cache / KEPT, json.dumps(content, indent=1) + "\n")


def doubts(cache: Path, model_hash: str, dtype: str = "auto") -> list[str]:
    """What failed the last time that a model was tested in an arithmetic [auto: any], in words."""
    begins = f"{model_hash[:16]} " + (f"{dtype} " if dtype != "auto" else "")
    return [
        f"Do not trust this model's vectors: {check.in_words()} ({key.split(' ', 2)[2]})."
        for key, checks in _read(cache / KEPT).items()
        if key.startswith(begins)
        for check in checks
        if not check.passed
    ]


def _test(
    folder: Path, items: Sequence["Prompted"], layers: Sequence[int], dtype: str, *, wanted: bool
) -> tuple["Means", list[Check]]:
    """The means in an arithmetic, and its checks if they are wanted."""
    from core.models.extraction.activations import segment_means
    from core.models.loading import load_model

    model = load_model(folder, dtype=dtype, blocks=max(layers)).model
    means = segment_means(model, items, layers)
    if not wanted:
        return means, []
    again = segment_means(model, items, layers)
    alone = segment_means(model, items, layers, budget=1)
    plain = segment_means(model, items, layers, packed=False)
    bound, most = f"at most {ERRORS[dtype]:g}", ERRORS[dtype]
    checks = []
    for name, others in (("packed pass against plain pass", plain), ("batch invariance", alone)):
        error = _finite(_largest_error(means, others))
        checks.append(Check(name, dtype, error, bound, error is not None and error <= most))
    differ = sum(
        int((a != b).sum())
        for a, b in ((means.context, again.context), (means.completion, again.completion))
    )
    return means, [*checks, Check("determinism", dtype, differ, "0 numbers differ", differ == 0)]


def _largest_error(means: "Means", others: "Means") -> float:
    errors = [
        np.linalg.norm(a - b, axis=2) / np.linalg.norm(b, axis=2)
        for a, b in ((means.context, others.context), (means.completion, others.completion))
    ]
    return float(np.concatenate([error.ravel() for error in errors]).max())


def _rank_correlation(means: "Means", others: "Means") -> float:
    """Spearman's ρ of the cosines between datapoint vectors at the last layer."""
    ranks = [pd.Series(_cosines(each)).rank() for each in (means, others)]
    return float(ranks[0].corr(ranks[1]))


def _cosines(means: "Means") -> NDArray[Any]:
    """Of every two pairs."""
    vectors = means.completion[0::2, -1] - means.completion[1::2, -1]
    return cosines(vectors, vectors)[np.triu_indices(len(vectors), 1)]


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _fits(folder: Path, blocks: int) -> bool:
    return 4 * Shape.of(folder).first(blocks) <= free_bytes() / 2


def _key(model_hash: str, dtype: str) -> str:
    from core.models.devices import device_name, pick_device

    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return f"{model_hash[:16]} {dtype} {device_name(pick_device('auto'))}, {libraries}"


def _read(path: Path) -> dict[str, list[Check]]:
    """What was kept by key; nothing if it cannot be read, and is then measured again."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return {key: [Check(**fields) for fields in checks] for key, checks in kept.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
