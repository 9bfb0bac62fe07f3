"""Maps and heatmaps as small PNG images, to draw beneath a chart's axes.

378k points as dots are 34 MB of JSON, which a browser cannot draw; as an image they are 100 kB. A
pixel of a map takes the color of most points on it (or of their mean value), the more opaque the
more there are. Points that are not `shown` are context: grey, beneath all others. Only points in
the view are drawn, so that a smaller view is a sharper image.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WIDTH, HEIGHT = 1000, 640  # pixels: about those of the chart on a laptop
LEVELS = 6  # of opacity, by how many points a pixel has
FAINTEST = 0.5  # opacity of a single point
CONTEXT = ("#8C8C8C", 0.4)  # color and opacity of points that are not shown
CLEAREST = 0.15  # opacity of a heatmap's cell of value 0
FADED = 0.22  # opacity of heatmap columns that are not shown
NOTHING = ("#000000", 0.0)
MARGIN = 0.04  # of the extent of the points, left free around them

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
Mask = NDArray[np.bool_]
Colors = Sequence[str]  # #RRGGBB


@dataclass(frozen=True)
class View:
    """A part of the map, in the data's coordinates."""

    left: float
    right: float
    low: float
    high: float


def view_of(x: Floats, y: Floats) -> View:
    """The view that contains all points with finite coordinates, with a margin."""
    placed = np.isfinite(x) & np.isfinite(y)
    if not placed.any():
        return View(-1.0, 1.0, -1.0, 1.0)
    (left, right), (low, high) = ((float(v[placed].min()), float(v[placed].max())) for v in (x, y))
    wide, tall = (MARGIN * (extent or 1.0) for extent in (right - left, high - low))
    return View(left - wide, right + wide, low - tall, high + tall)


def category_map(
    x: Floats, y: Floats, categories: Ints, *, shown: Mask, colors: Colors, view: View
) -> str:
    """A map as a data URL: points in `colors[categories]`, the most frequent of a pixel wins."""
    spot = _pixels(x, y, view)
    best = np.zeros(WIDTH * HEIGHT, np.int32)
    winner = np.full(WIDTH * HEIGHT, -1, np.int16)
    total = np.zeros(WIDTH * HEIGHT, np.int32)
    for category in range(len(colors)):
        count = _counted(spot[(categories == category) & shown & (spot >= 0)])
        more = count > best
        best[more], winner[more] = count[more], category
        total += count
    return _painted(winner, total, _counted(spot[~shown & (spot >= 0)]), colors)


def value_map(
    x: Floats, y: Floats, values: Floats, *, shown: Mask, colors: Colors, view: View
) -> str:
    """A map as a data URL: pixels by their points' mean of `values` in [−1, 1].

    `colors` is the scale from −1 to 1; points without a value are left out.
    """
    spot = _pixels(x, y, view)
    drawn = shown & (spot >= 0) & np.isfinite(values)
    count = _counted(spot[drawn])
    total = _counted(spot[drawn], values[drawn])
    mean = np.divide(total, count, out=np.zeros(len(total)), where=count > 0)
    winner = np.where(count > 0, _step(mean, colors), -1).astype(np.int16)
    return _painted(winner, count, _counted(spot[~shown & (spot >= 0)]), colors)


def value_grid(values: Floats, *, limit: float, shown: Mask, colors: Colors) -> str:
    """A heatmap as a data URL: `values` (row, column), the first row at the bottom; NaN is empty.

    `colors` is the scale from −limit to limit; columns that are not `shown` fade. Around 0 the
    picture is clear, so that on light and on dark what stands out is far from 0.
    """
    step = 1 + _step(np.nan_to_num(values / limit), colors)
    pixels = np.where(np.isnan(values), 0, step + np.where(shown, 0, len(colors)))
    far = np.abs(np.linspace(-1, 1, len(colors))) ** 0.5
    opacities = CLEAREST + (1 - CLEAREST) * far
    shades = [(c, float(a * o)) for a in (1, FADED) for c, o in zip(colors, opacities, strict=True)]
    return png(pixels[::-1], [NOTHING, *shades])


def category_strip(categories: Ints, colors: Colors, *, upright: bool = False) -> str:
    """One row of cells as a data URL (upright: from the bottom); −1 is empty."""
    pixels = categories[::-1, None] if upright else categories[None]
    return png(pixels + 1, [NOTHING, *((color, 1.0) for color in colors)])


def _step(values: Floats, colors: Colors) -> NDArray[np.int16]:
    """Number of the color of each value on the scale from −1 to 1."""
    return np.rint((np.clip(values, -1, 1) + 1) / 2 * (len(colors) - 1)).astype(np.int16)


def _pixels(x: Floats, y: Floats, view: View) -> NDArray[np.int64]:
    """(point,) the pixel of each point, row by row from the upper left; −1 out of view."""
    with np.errstate(invalid="ignore"):
        column = np.floor((x - view.left) / (view.right - view.left) * WIDTH)
        row = np.floor((view.high - y) / (view.high - view.low) * HEIGHT)
        seen = (column >= 0) & (column < WIDTH) & (row >= 0) & (row < HEIGHT)
        spot = np.where(seen, row * WIDTH + column, -1)
    return spot.astype(np.int64)


def _counted(spot: NDArray[np.int64], weights: Floats | None = None) -> NDArray:
    """(pixel,) points on it or on one of its four neighbors, so that one point is visible."""
    count = np.bincount(spot, weights, minlength=WIDTH * HEIGHT).reshape(HEIGHT, WIDTH)
    spread = count.copy()
    spread[1:] += count[:-1]
    spread[:-1] += count[1:]
    spread[:, 1:] += count[:, :-1]
    spread[:, :-1] += count[:, 1:]
    return spread.ravel()


def _painted(winner: NDArray[np.int16], total: NDArray, context: NDArray, colors: Colors) -> str:
    """Palette: 0 nothing, 1 context, then `LEVELS` opacities of every color."""
    crowded = np.log(np.maximum(total, 1)) / np.log(max(float(total.max(initial=1)), 2.0))
    level = np.minimum((crowded * LEVELS).astype(np.int16), LEVELS - 1)
    pixels = np.where(winner >= 0, 2 + winner * LEVELS + level, np.where(context > 0, 1, 0))
    opacities = np.linspace(FAINTEST, 1, LEVELS)
    shades = [(color, float(opacity)) for color in colors for opacity in opacities]
    return png(pixels.reshape(HEIGHT, WIDTH), [NOTHING, CONTEXT, *shades])


def png(pixels: Ints, palette: Sequence[tuple[str, float]]) -> str:
    """A data URL of an indexed PNG, at most 256 colors of `(#RRGGBB, opacity)`."""
    if len(palette) > 256:
        raise ValueError(f"a palette has at most 256 colors, not {len(palette)}")
    image = Image.fromarray(pixels.astype(np.uint8))
    image.putpalette(b"".join(bytes.fromhex(color[1:]) for color, _ in palette))
    buffer = io.BytesIO()
    opacities = bytes(round(255 * opacity) for _, opacity in palette)
    image.save(buffer, "PNG", transparency=opacities)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
