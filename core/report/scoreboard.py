"""How the methods compare, over worlds: what `pairtrace bench methods` measured, as tables.

`assets/scoreboard.json` is a list of its results, one per world, as they were measured for this
version (`bench methods --world W … --out FILE`); nothing here computes a score. Beside it, and
never mixed with it, is the table of arXiv 2602.11079 (OLMo 2 7B, 378,341 pairs): other models,
other data, harmful rates after retraining rather than precision against a truth.
"""

import json
from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import Any

import pandas as pd

from core.errors import UserError
from core.storage.atomic import write_atomic

FILE = Path(__file__).parents[2] / "assets" / "scoreboard.json"

# harmful % with distractor after removing / flipping so many pairs; policy 7.63, reference 0.64
PAPER = pd.DataFrame(
    [
        ("probe (pooled similarity)", 5.13, 3.30, 2.86, 6.38, 6.33, 1.66, 30.0),
        ("bank (max)", 4.98, 5.86, 4.52, 6.52, 6.34, 1.77, None),
        ("LLM judge, toxicity", 3.48, 3.90, 3.61, 6.89, 4.63, 3.73, 500.0),
        ("LESS, 4 checkpoints", 3.75, 3.10, 5.78, 6.71, 2.57, 2.51, 320.0),
        ("random", 6.78, 8.18, 6.67, 7.68, 5.16, 4.96, None),
    ],
    columns=[
        "method",
        *(f"{action} {k}" for action in ("remove", "flip") for k in ("3k", "12k", "30k")),
        "dollars",
    ],
)


def read(path: Path = FILE) -> pd.DataFrame:
    """One row per world, behavior and method: quality, cost and `layer, valid, n_planted, n_pairs`.

    Behaviors that no prompt of a world showed have a row with `problem` and nothing else.
    """
    try:
        worlds: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: {error}. Write it by `bench methods --out {path}`.") from error
    rows = []
    for world in worlds:
        for behavior in world["behaviors"]:
            known = {k: v for k, v in behavior.items() if k not in ("methods", "agreement")}
            for method in behavior["methods"] or [{}]:
                rows.append({"world": world["world"], "stride": world["stride"], **known, **method})
    return pd.DataFrame(rows)


def write(path: Path, worlds: Sequence[dict[str, Any]]) -> None:
    """Write what `read` reads: results of worlds, at five digits, undefined numbers as null."""
    write_atomic(path, json.dumps([_short(world) for world in worlds], indent=0) + "\n")


def over_worlds(table: pd.DataFrame, measure: str = "average_precision") -> pd.DataFrame:
    """Per behavior and method: `mean, low, high, n` of a measure over worlds, best first.

    `low` and `high` are the least and the greatest; methods not run on all pairs are left out.
    """
    found = table.dropna(subset=[measure]).groupby(["behavior", "method"])[measure]
    made = found.agg(mean="mean", low="min", high="max", n="count").reset_index()
    return made.sort_values(["behavior", "mean"], ascending=[True, False], ignore_index=True)


def quality_and_cost(table: pd.DataFrame) -> pd.DataFrame:
    """Per method: average precision over worlds and behaviors, and what ranking all pairs costs.

    `method, mean, low, high, n, on_sample, cpu_seconds, bytes, dollars`, best mean first; `low` and
    `high` are the least and the greatest of the `n` cases. Methods that were run on a sample of the
    pairs only are measured there (`on_sample`). Costs are means; one that was not measured is NaN.
    """
    known = table.dropna(subset=["method"])
    whole = known["average_precision"]
    measured = known.assign(
        precision=whole.fillna(known["average_precision_on_sample"]), on_sample=whole.isna()
    )
    costs = ["cpu_seconds", "bytes", "dollars"]
    measured[costs] = measured[costs].astype(float)
    grouped = measured.groupby("method")
    quality = grouped["precision"].agg(mean="mean", low="min", high="max", n="count")
    found = quality.join(grouped["on_sample"].any()).join(grouped[costs].mean())
    return found.reset_index().sort_values("mean", ascending=False, ignore_index=True)


def _short(found: Any) -> Any:
    if isinstance(found, dict):
        return {name: _short(value) for name, value in found.items()}
    if isinstance(found, list):
        return [_short(value) for value in found]
    if isinstance(found, float):
        return None if isnan(found) else float(f"{found:.5g}")
    return found
