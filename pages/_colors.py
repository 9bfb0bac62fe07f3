"""Colors that mean something, the same on every page and legible on light and dark.

From Okabe and Ito's palette, which every kind of color vision tells apart; charts also differ in
marker shape, so that no meaning hangs on color alone.
"""

MODEL = {
    "reference": "#7A8794",
    "policy": "#D55E00",
    "baseline": "#E69F00",
    "random control": "#CC79A7",
    "edited": "#009E73",
}
SYMBOL = {
    "reference": "circle",
    "policy": "diamond",
    "baseline": "x",
    "random control": "square",
    "edited": "star",
}
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
DIVERGING = [[0, "#0072B2"], [0.5, "#B9BFC6"], [1, "#D55E00"]]  # around 0, light and dark
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "x", "cross", "star")
LAYOUT = {  # of every chart
    "margin": {"l": 10, "r": 10, "t": 30, "b": 40},
    "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
}


def of_category(position: int) -> tuple[str, str]:
    """Color and marker of the n-th category; the pair repeats after 56."""
    return (
        CATEGORIES[position % len(CATEGORIES)],
        SYMBOLS[(position // len(CATEGORIES)) % len(SYMBOLS)],
    )
