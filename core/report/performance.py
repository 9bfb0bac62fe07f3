"""The figures that `pairtrace bench all` measured for this version, as rows to show.

`assets/performance.json` holds the benchmarks' own output, untouched, with when and on what kind of
machine it was made. Ratios are within one run on one machine; seconds are that machine's.
"""

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from core.environment import processor
from core.errors import UserError

FILE = Path(__file__).parents[2] / "assets" / "performance.json"
SHOWN = ("extraction", "query", "evaluation", "map")
MODELS = {"8x256": "8 blocks × 256, random weights", "organism": "the organism"}


def record(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What is written: the benchmarks' results, and what one must know to read them."""
    machine = {
        "cpu": processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": version("torch"),
    }
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    return {"date": when, "machine": machine, "results": results}


def read(path: Path = FILE) -> dict[str, Any]:
    """The file as it is; `UserError` where there is none or it is damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError) as error:
        raise UserError(f"{path.name}: {error}. Write it: pairtrace bench all") from error
    if not isinstance(found, dict) or not {"date", "machine", "results"} <= found.keys():
        raise UserError(f"{path.name}: not what was expected. Write it: pairtrace bench all")
    return found


def extraction(result: dict[str, Any]) -> pd.DataFrame:
    """One row per model and way of working: `model, way, cpu_seconds, times, min_cosine`.

    `times` is CPU-seconds of the published loop over those of this way, on the same token ids.
    """
    rows = []
    for key, model in MODELS.items():
        one = result[key]
        loop = one["published_loop"]["cpu_seconds"]
        for way in ("published_loop", "gradient", "float32", "bfloat16"):
            if way in one:
                seconds = one[way]["cpu_seconds"]
                rows.append(
                    {
                        "model": model,
                        "pairs": one["pairs"],
                        "way": _in_words(way),
                        "cpu_seconds": seconds,
                        "times": loop / seconds,
                        "min_cosine": one[way].get("min_cosine"),
                    }
                )
    return pd.DataFrame(rows)


def sentences(results: dict[str, dict[str, Any]]) -> list[str]:
    """The other benchmarks, in one plain sentence each."""
    said = []
    if query := results.get("query"):
        said.append(
            f"Scoring {query['pairs']:,} pairs of {query['d_model']:,} numbers against "
            f"{query['behaviors']} behaviors, a {query['index_gb']:.1f} GB index: "
            f"{query['first_scan_seconds']:.0f} s the first time, "
            f"{query['second_scan_seconds']:.0f} s again, at most "
            f"{query['peak_resident_gb']:.2f} GB of memory."
        )
    if measured := results.get("evaluation"):
        said.append(
            f"Measuring the organism's policy: {measured['completions']:,} completions in "
            f"{measured['cpu_seconds']:.0f} CPU-seconds "
            f"({measured['completions_per_cpu_second']:,.0f} a second)."
        )
    if drawn := results.get("map"):
        waits = sorted(lasso["seconds"] for lasso in drawn["lassos"])
        right = all(
            lasso["selected"] == lasso["inside_by_another_rule"] for lasso in drawn["lassos"]
        )
        said.append(
            f"The map of {drawn['pairs']:,} pairs in a browser: drawn in "
            f"{drawn['visit_seconds']:.1f} s; a lasso around thousands of them is answered in "
            f"{waits[0]:.1f} to {waits[-1]:.1f} s"
            + (" and selects exactly the pairs inside." if right else ", NOT exactly those inside.")
        )
    return said


def _in_words(way: str) -> str:
    return {
        "published_loop": "published loop",
        "gradient": "gradient of every pair",
        "float32": "PairTrace, float32",
        "bfloat16": "PairTrace, bfloat16",
    }[way]
