"""What removing and flipping did at several sizes, as `pairtrace bench intervention` measured it.

`assets/intervention.json` is its output for this version, untouched: the shipped organism, every
size beside a random control, three training seeds each. Nothing here is computed again.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from core.errors import UserError

FILE = Path(__file__).parents[2] / "assets" / "intervention.json"
CONTROL = "control of "
ARMS = {"": "edited", CONTROL: "random control"}  # what an arm's name begins with → its kind


def read(path: Path = FILE) -> dict[str, Any]:
    """The file as it is; `UserError` where there is none or it is damaged."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found["edited_minus_control"], found["rates"]["baseline"][found["behavior"]]
    except (FileNotFoundError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise UserError(
            f"{path.name}: {error}. Write it from `pairtrace bench intervention --json`."
        ) from error
    return found


def doses(result: dict[str, Any], action: str) -> pd.DataFrame:
    """`arm, k, seed, rate`: one row per retraining of an action; k = 0 is the baseline."""
    rows = []
    for prefix, arm in ARMS.items():
        for k, name in [(0, "baseline"), *_sizes(result, action)]:
            own = _rate(result, name if k == 0 else prefix + name)["seeds"]
            rows += [{"arm": arm, "k": k, "seed": s, "rate": r} for s, r in enumerate(own)]
    return pd.DataFrame(rows)


def summary(result: dict[str, Any]) -> pd.DataFrame:
    """Per action and size, in words: both rates, their difference, what was taken back."""
    rows = []
    for action in ("remove", "flip"):
        for k, name in _sizes(result, action):
            apart = result["edited_minus_control"][name]
            points = [100 * apart[part] for part in ("difference", "low", "high")]
            rows.append(
                {
                    "action": action,
                    "pairs": k,
                    "edited": _said(_rate(result, name)),
                    "random control": _said(_rate(result, CONTROL + name)),
                    "edited − control, points": "{:+.1f} [{:+.1f}, {:+.1f}]".format(*points),
                    "of the rise undone": f"{result['share_of_the_rise_cut'][name]:.0%}",
                }
            )
    return pd.DataFrame(rows)


def _sizes(result: dict[str, Any], action: str) -> list[tuple[int, str]]:
    """Size and name of the action's arms, smallest first."""
    named = [name for name in result["edited_minus_control"] if name.startswith(f"{action} ")]
    return sorted((int(name.split()[1]), name) for name in named)


def _rate(result: dict[str, Any], arm: str) -> dict[str, Any]:
    own: dict[str, Any] = result["rates"][arm][result["behavior"]]
    return own


def _said(rate: dict[str, Any]) -> str:
    if len(set(rate["seeds"])) == 1:  # no spread to make an interval of
        return f"{rate['rate']:.1%} in all {len(rate['seeds'])} seeds"
    return f"{rate['rate']:.1%} [{rate['low']:.1%}, {rate['high']:.1%}]"
