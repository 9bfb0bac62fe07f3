"""The scores that a ranking holds, and how they are called in a sentence.

All come from one scan over an index (core.attribution.similarity), so a ranking has every one of
them, in whichever order it is written. Other methods need more than an index; they are compared on
known truth by `pairtrace bench methods`.
"""

from typing import Literal

Score = Literal["gated", "discriminant", "bilinear", "similarity", "bank", "projection"]

IN_WORDS: dict[Score, str] = {
    "gated": "gated similarity",
    "discriminant": "gated discriminant",
    "bilinear": "bilinear gated similarity",
    "similarity": "similarity",
    "bank": "bank similarity",
    "projection": "projection",
}
