"""Colors that mean something, the same on every page and legible on light and dark.

From Okabe and Ito's palette, which every kind of color vision tells apart; charts also differ in
marker shape, so that no meaning hangs on color alone.
"""

from core.report.figures import COLORS as MODEL
from core.report.figures import LAYOUT
from core.report.figures import SYMBOLS as SYMBOL

__all__ = [
    "CATEGORIES",
    "DASH",
    "DIVERGING",
    "GREY",
    "LAYOUT",
    "MODEL",
    "PROMPTS",
    "SYMBOL",
    "SYMBOLS",
]

DASH = {"edited": "solid", "random control": "dot", "baseline": "dash"}
GREY = "rgba(128,128,128,.35)"  # context
NOISE = "#8A9099"  # pairs in no cluster
CATEGORIES = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#9A8B1F",
    "#8C6BB1",
)
PROMPTS = CATEGORIES[::-1]  # groups of prompts, so that none looks like the cluster beside it
DIVERGING = [[0, "#0072B2"], [0.5, "#B9BFC6"], [1, "#D55E00"]]  # around 0, light and dark
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "x", "cross", "star")


def of_category(position: int) -> tuple[str, str]:
    """Color and marker of the n-th category; the pair repeats after 56."""
    return (
        CATEGORIES[position % len(CATEGORIES)],
        SYMBOLS[(position // len(CATEGORIES)) % len(SYMBOLS)],
    )


def of_prompts(position: int) -> tuple[str, str]:
    """Color and marker of the n-th group of prompts: open, where pairs are filled."""
    symbol = SYMBOLS[position % len(SYMBOLS)]
    return PROMPTS[position % len(PROMPTS)], f"{symbol}-open"
