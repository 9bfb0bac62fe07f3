"""Results of `pairtrace bench` that are shipped in `assets/`, as tables to show.

Four files hold what benchmarks measured for this version, as they wrote it; nothing here computes
a score. `scoreboard.json`: how methods compare, one result of `bench methods` per world.
`intervention.json`: what removing and flipping did at several sizes, from `bench intervention`.
`repairs.json`: what every repair undoes and what it changes besides, from `bench repairs`.
`performance.json`: speed, from `bench all`, with date and kind of machine; ratios are within one
run on one machine, seconds are that machine's. Beside the scoreboard, and never mixed with it, is
the table of arXiv 2602.11079 (OLMo 2 7B, 378,341 pairs): other models, other data, harmful rates
after retraining rather than precision against a truth.
"""

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from math import isnan
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from core.environment import processor
from core.errors import UserError
from core.storage.atomic import write_atomic

ASSETS = Path(__file__).parents[2] / "assets"
SCOREBOARD = ASSETS / "scoreboard.json"
INTERVENTION = ASSETS / "intervention.json"
REPAIRS = ASSETS / "repairs.json"
PERFORMANCE = ASSETS / "performance.json"
BENCHMARKS = ("extraction", "query", "evaluation", "map")  # of performance.json
MODELS = {"8x256": "8 blocks × 256, random weights", "organism": "the organism"}
WAYS = {
    "published_loop": "published loop",
    "gradient": "gradient of every pair",
    "float32": "PairTrace, float32",
    "bfloat16": "PairTrace, bfloat16",
}
CONTROL = "control of "  # begins the name of an arm that is a control
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


def read_scoreboard(path: Path = SCOREBOARD) -> pd.DataFrame:
    """One row per world, behavior and method: quality, cost and `layer, valid, n_planted, n_pairs`.

    Behaviors that no prompt of a world showed have a row with `problem` and nothing else.
    """
    rows = []
    for world in _read(path, f"bench methods --out {path}"):
        for behavior in world["behaviors"]:
            common = {k: v for k, v in behavior.items() if k not in ("methods", "agreement")}
            for method in behavior["methods"] or [{}]:
                row = {"world": world["world"], "stride": world["stride"]}
                rows.append(row | common | method)
    return pd.DataFrame(rows)


def write_scoreboard(path: Path, worlds: Sequence[dict[str, Any]]) -> None:
    """Write what `read_scoreboard` reads, at five digits, undefined numbers as null."""
    write_atomic(path, json.dumps([_short(world) for world in worlds], indent=0) + "\n")


def quality_and_cost(table: pd.DataFrame) -> pd.DataFrame:
    """Per method: average precision over worlds and behaviors, and what ranking all pairs costs.

    `method, mean, low, high, n, on_sample, cpu_seconds, bytes, dollars`, best mean first; `low` and
    `high` are the least and the greatest of the `n` cases. Methods that were run on a sample of the
    pairs only are measured there (`on_sample`). Costs are means; one that was not measured is NaN.
    """
    methods = table.dropna(subset=["method"])
    on_all = methods["average_precision"]
    measured = methods.assign(
        precision=on_all.fillna(methods["average_precision_on_sample"]), on_sample=on_all.isna()
    )
    costs = ["cpu_seconds", "bytes", "dollars"]
    measured[costs] = measured[costs].astype(float)
    grouped = measured.groupby("method")
    quality = grouped["precision"].agg(mean="mean", low="min", high="max", n="count")
    joined = quality.join(grouped["on_sample"].any()).join(grouped[costs].mean())
    return joined.reset_index().sort_values("mean", ascending=False, ignore_index=True)


def read_intervention(path: Path = INTERVENTION) -> dict[str, Any]:
    """The file as it is: rates of every arm, differences from its control, three seeds each."""
    source = "bench intervention --json"
    content: dict[str, Any] = _read(path, source)
    try:
        content["edited_minus_control"], content["rates"]["baseline"][content["behavior"]]
    except (KeyError, TypeError) as error:
        raise _unreadable(path, error, source) from error
    return content


def doses(intervention: dict[str, Any], action: str) -> pd.DataFrame:
    """`arm, k, seed, rate`: one row per training of an action; k = 0 is the baseline."""
    rows = []
    for prefix, arm in (("", "edited"), (CONTROL, "random control")):
        for k, name in [(0, "baseline"), *_sizes(intervention, action)]:
            rates = _rate(intervention, name if k == 0 else prefix + name)["seeds"]
            rows += [{"arm": arm, "k": k, "seed": s, "rate": r} for s, r in enumerate(rates)]
    return pd.DataFrame(rows)


def effects(intervention: dict[str, Any]) -> pd.DataFrame:
    """Per action and size, in words: both rates, their difference, the share of the rise undone."""
    rows = []
    for action in ("remove", "flip"):
        for k, name in _sizes(intervention, action):
            difference = intervention["edited_minus_control"][name]
            points = [100 * difference[part] for part in ("difference", "low", "high")]
            rows.append(
                {
                    "action": action,
                    "pairs": k,
                    "edited": _in_words(_rate(intervention, name)),
                    "random control": _in_words(_rate(intervention, CONTROL + name)),
                    "edited − control, points": "{:+.1f} [{:+.1f}, {:+.1f}]".format(*points),
                    "of the rise undone": f"{intervention['share_of_the_rise_cut'][name]:.0%}",
                }
            )
    return pd.DataFrame(rows)


def read_repairs(path: Path = REPAIRS) -> dict[str, Any]:
    """The file as it is: per repair what it and its control undo, and side effects."""
    source = "bench repairs --out assets/repairs.json"
    content: dict[str, Any] = _read(path, source)
    try:
        content["better_than_flipping"], content["repairs"]["flip"]["undone"]["mean"]
    except (KeyError, TypeError) as error:
        raise _unreadable(path, error, source) from error
    return content


def repairs_table(result: dict[str, Any]) -> pd.DataFrame:
    """Per repair, in words: the share of the rise undone, by its control, and side effects."""
    return pd.DataFrame(
        {
            "repair": name,
            "pairs touched": "the loss of all" if row["pairs_touched"] is None
            else f"{row['pairs_touched']:,}",
            "of the rise undone": _share(row["undone"]),
            "by its control": _share(row["undone_by_control"]),
            "made worse, points": row["points_worse"],
            "by its control, points": row["points_worse_by_control"],
            "tokens per answer": row["tokens_changed"],
            **{f"{other}, points": points for other, points in row["points_changed"].items()},
        }
        for name, row in result["repairs"].items()
    )  # fmt: skip


def read_performance(path: Path = PERFORMANCE) -> dict[str, Any]:
    """The file as it is: date, machine and results."""
    content: dict[str, Any] = _read(path, "bench all")
    if not isinstance(content, dict) or not {"date", "machine", "results"} <= content.keys():
        raise _unreadable(path, "not what was expected", "bench all")
    return content


def performance_record(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The content of performance.json: results, date and kind of machine; no host, no user."""
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


def extraction_table(result: dict[str, Any]) -> pd.DataFrame:
    """One row per model and way of working: `model, way, cpu_seconds, times, min_cosine`.

    `times` is CPU-seconds of the published loop over those of this way, on the same token ids.
    """
    return pd.DataFrame(
        {
            "model": model,
            "pairs": result[key]["pairs"],
            "way": words,
            "cpu_seconds": result[key][way]["cpu_seconds"],
            "times": result[key]["published_loop"]["cpu_seconds"] / result[key][way]["cpu_seconds"],
            "min_cosine": result[key][way].get("min_cosine"),
        }
        for key, model in MODELS.items()
        for way, words in WAYS.items()
        if way in result[key]
    )


def performance_sentences(results: dict[str, dict[str, Any]]) -> list[str]:
    """The benchmarks other than extraction, in a plain sentence each."""
    sentences = []
    if query := results.get("query"):
        sentences.append(
            f"Scoring {query['pairs']:,} pairs of {query['d_model']:,} numbers against "
            f"{query['behaviors']} behaviors, a {query['index_gb']:.1f} GB index: "
            f"{query['first_scan_seconds']:.0f} s the first time, "
            f"{query['second_scan_seconds']:.0f} s again, at most "
            f"{query['peak_resident_gb']:.2f} GB of memory."
        )
    if measured := results.get("evaluation"):
        sentences.append(
            f"Measuring the organism's policy: {measured['completions']:,} completions in "
            f"{measured['cpu_seconds']:.0f} CPU-seconds "
            f"({measured['completions_per_cpu_second']:,.0f} a second)."
        )
    if drawn := results.get("map"):
        lassos = drawn["lassos"]
        waits = sorted(lasso["seconds"] for lasso in lassos)
        right = all(lasso["selected"] == lasso["inside_by_another_rule"] for lasso in lassos)
        sentences.append(
            f"The map of {drawn['pairs']:,} pairs in a browser: drawn in "
            f"{drawn['visit_seconds']:.1f} s; a lasso around thousands of them is answered in "
            f"{waits[0]:.1f} to {waits[-1]:.1f} s"
            + (" and selects exactly the pairs inside." if right else ", NOT exactly those inside.")
        )
    return sentences


def _read(path: Path, source: str) -> Any:
    """The JSON of a file that the command `source` writes."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError) as error:
        raise _unreadable(path, error, source) from error


def _unreadable(path: Path, problem: object, source: str) -> UserError:
    return UserError(f"{path.name}: {problem}. Write it: pairtrace {source}")


def _short(value: Any) -> Any:
    """The same at five digits, and None instead of NaN, which JSON does not know."""
    if isinstance(value, dict):
        return {name: _short(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_short(item) for item in value]
    if isinstance(value, float):
        return None if isnan(value) else float(f"{value:.5g}")
    return value


def _sizes(intervention: dict[str, Any], action: str) -> list[tuple[int, str]]:
    """Size and name of the action's arms, smallest first."""
    names = [name for name in intervention["edited_minus_control"] if name.startswith(f"{action} ")]
    return sorted((int(name.split()[1]), name) for name in names)


def _rate(intervention: dict[str, Any], arm: str) -> dict[str, Any]:
    return dict(intervention["rates"][arm][intervention["behavior"]])


def _share(undone: dict[str, Any]) -> str:
    if undone["mean"] is None:
        return "nothing rose"
    if undone["low"] is None or len(set(undone["seeds"])) == 1:
        return f"{undone['mean']:.0%}"
    return f"{undone['mean']:.0%} [{undone['low']:.0%}, {undone['high']:.0%}]"


def _in_words(rate: dict[str, Any]) -> str:
    if len(set(rate["seeds"])) == 1:  # no spread to make an interval of
        return f"{rate['rate']:.1%} in all {len(rate['seeds'])} seeds"
    return f"{rate['rate']:.1%} [{rate['low']:.1%}, {rate['high']:.1%}]"
