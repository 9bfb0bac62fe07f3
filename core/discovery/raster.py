"""A map of many points as one small picture, for a chart to lay under its axes.

378k points as dots are 34 MB of JSON and a browser that stands still; as a picture they are
100 kB. A pixel takes the color of most of the points on it (or of their mean value), the more
firmly the more there are. Points that are not `shown` are context: grey, and under all others.
Only the points within the view are drawn, so that a closer view is a sharper picture.
"""

import base64
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 1000, 640  # pixels: about those of the chart on a laptop
LEVELS = 6  # of opacity, by how many points a pixel holds
FAINTEST = 0.5  # opacity of a single point
CONTEXT = ("#8C8C8C", 0.4)  # color and opacity of points that are not shown
MARGIN = 0.04  # of the extent of the points, left free around them

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class View:
    """A part of the map, in the data's coordinates."""

    left: float
    right: float
    low: float
    high: float


def around(x: Floats, y: Floats) -> View:
    """The view that holds all points that have a place, with a margin."""
    placed = np.isfinite(x) & np.isfinite(y)
    if not placed.any():
        return View(-1.0, 1.0, -1.0, 1.0)
    (left, right), (low, high) = ((float(v[placed].min()), float(v[placed].max())) for v in (x, y))
    wide, tall = (MARGIN * (extent or 1.0) for extent in (right - left, high - low))
    return View(left - wide, right + wide, low - tall, high + tall)


def of_kinds(
    x: Floats, y: Floats, kinds: Ints, *, shown: Mask, colors: Sequence[str], view: View
) -> str:
    """A PNG as a data address: each point in `colors[kinds]`, most points of a pixel win."""
    spot = _pixels(x, y, view)
    best = np.zeros(WIDTH * HEIGHT, np.int32)
    winner = np.full(WIDTH * HEIGHT, -1, np.int16)
    total = np.zeros(WIDTH * HEIGHT, np.int32)
    for kind in range(len(colors)):
        count = _counted(spot[(kinds == kind) & shown & (spot >= 0)])
        more = count > best
        best[more], winner[more] = count[more], kind
        total += count
    return _painted(winner, total, _counted(spot[~shown & (spot >= 0)]), colors)


def of_values(
    x: Floats, y: Floats, values: Floats, *, shown: Mask, colors: Sequence[str], view: View
) -> str:
    """A PNG as a data address: pixels by their points' mean of `values` in [−1, 1].

    `colors` is the scale from −1 to 1; points without a value are left out.
    """
    spot = _pixels(x, y, view)
    drawn = shown & (spot >= 0) & np.isfinite(values)
    count = _counted(spot[drawn])
    total = _counted(spot[drawn], values[drawn])
    mean = np.divide(total, count, out=np.zeros(len(total)), where=count > 0)
    step = np.rint((np.clip(mean, -1, 1) + 1) / 2 * (len(colors) - 1)).astype(np.int16)
    winner = np.where(count > 0, step, -1).astype(np.int16)
    return _painted(winner, count, _counted(spot[~shown & (spot >= 0)]), colors)


def _pixels(x: Floats, y: Floats, view: View) -> NDArray[np.int64]:
    """(point,) the pixel of each point, row by row from the upper left; −1 out of view."""
    with np.errstate(invalid="ignore"):
        column = np.floor((x - view.left) / (view.right - view.left) * WIDTH)
        row = np.floor((view.high - y) / (view.high - view.low) * HEIGHT)
        seen = (column >= 0) & (column < WIDTH) & (row >= 0) & (row < HEIGHT)
        spot = np.where(seen, row * WIDTH + column, -1)
    return spot.astype(np.int64)


def _counted(spot: NDArray[np.int64], weights: Floats | None = None) -> NDArray:
    """(pixel,) points on it or on one of its four neighbors, so that one point can be seen."""
    count = np.bincount(spot, weights, minlength=WIDTH * HEIGHT).reshape(HEIGHT, WIDTH)
    spread = count.copy()
    spread[1:] += count[:-1]
    spread[:-1] += count[1:]
    spread[:, 1:] += count[:, :-1]
    spread[:, :-1] += count[:, 1:]
    return spread.ravel()


def _painted(
    winner: NDArray[np.int16], total: NDArray, context: NDArray, colors: Sequence[str]
) -> str:
    """Palette: 0 nothing, 1 context, then `LEVELS` opacities of every color."""
    crowded = np.log(np.maximum(total, 1)) / np.log(max(float(total.max(initial=1)), 2.0))
    level = np.minimum((crowded * LEVELS).astype(np.int16), LEVELS - 1)
    pixels = np.where(winner >= 0, 2 + winner * LEVELS + level, np.where(context > 0, 1, 0))
    opacities = np.linspace(FAINTEST, 1, LEVELS)
    palette = [("#000000", 0.0), CONTEXT]
    palette += [(color, float(opacity)) for color in colors for opacity in opacities]
    return png(pixels.reshape(HEIGHT, WIDTH).astype(np.uint8), palette)


def png(pixels: NDArray[np.uint8], palette: Sequence[tuple[str, float]]) -> str:
    """An indexed PNG, at most 256 colors of `(#RRGGBB, opacity)`."""
    if len(palette) > 256:
        raise ValueError(f"a palette holds 256 colors, not {len(palette)}")
    rows = np.pad(pixels, ((0, 0), (1, 0)))  # filter 0 before every row
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 3, 0, 0, 0)),
        (b"PLTE", b"".join(bytes.fromhex(color[1:]) for color, _ in palette)),
        (b"tRNS", bytes(round(255 * opacity) for _, opacity in palette)),
        (b"IDAT", zlib.compress(rows.tobytes(), 6)),
        (b"IEND", b""),
    ]
    image = b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, body) for name, body in parts)
    return "data:image/png;base64," + base64.b64encode(image).decode()


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
