"""The scores that a ranking holds, and how they are called in a sentence.

All come from one scan over an index (core.attribution.similarity), so a ranking has every one of
them, in whichever order it is written. Other methods need more than an index; they are compared on
known truth by `pairtrace bench methods`. The default is said here and nowhere else; what reads a
finished ranking goes by the method that the ranking was made with.
"""

from typing import Literal

Score = Literal["discriminant", "gated", "bilinear", "similarity", "bank", "projection"]

DEFAULT: Score = "discriminant"  # best on worlds it was not chosen on: docs/log.md

IN_WORDS: dict[Score, str] = {
    "discriminant": "gated discriminant",
    "gated": "gated similarity",
    "bilinear": "bilinear gated similarity",
    "similarity": "similarity",
    "bank": "bank similarity",
    "projection": "projection",
}
