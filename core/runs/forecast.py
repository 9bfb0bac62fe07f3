"""How long runs will take, from how long such runs took in this workspace.

The median of finished runs of a step is what one more is expected to take; a run under way that has
reported progress is extrapolated from its own pace. Steps that nothing is known of are named, not
guessed. Runs that share the device come one after the other.
"""

from collections.abc import Iterable
from statistics import median
from typing import NamedTuple

from core.runs.store import RunInfo, Store


class Forecast(NamedTuple):
    """Seconds until all is done, and the steps that no forecast could be made for."""

    seconds: float
    unknown: tuple[str, ...]


def typical_seconds(store: Store) -> dict[str, float]:
    """Median wall-clock seconds of the finished runs, by step."""
    took: dict[str, list[float]] = {}
    for info in store.infos(state="finished"):
        took.setdefault(info.step, []).append(info.seconds)
    return {step: median(seconds) for step, seconds in took.items()}


def forecast(steps: Iterable[str], typical: dict[str, float]) -> Forecast:
    """For runs that have not begun."""
    wanted = list(steps)
    unknown = tuple(dict.fromkeys(step for step in wanted if step not in typical))
    return Forecast(sum(typical.get(step, 0.0) for step in wanted), unknown)


def left(infos: Iterable[RunInfo], typical: dict[str, float]) -> Forecast:
    """For runs of which some may be under way; ended ones need no more time."""
    seconds, unknown = 0.0, []
    for info in infos:
        if info.state not in ("absent", "waiting", "running"):
            continue
        one = _left(info, typical)
        if one is None:
            unknown.append(info.step)
        seconds += one or 0.0
    return Forecast(seconds, tuple(dict.fromkeys(unknown)))


def _left(info: RunInfo, typical: dict[str, float]) -> float | None:
    if info.state == "running" and info.done and info.total:
        return info.seconds * (info.total - info.done) / info.done
    usual = typical.get(info.step)
    return None if usual is None else max(0.0, usual - info.seconds * (info.state == "running"))
