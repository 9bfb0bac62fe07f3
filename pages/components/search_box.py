"""Searching pairs: by a phrase, a regular expression, or words; what is found is a recipe."""

from streamlit.delta_generator import DeltaGenerator

from core.specs.recipes import AnyOf, BestWords, Contains, Matches, Recipe

COLUMNS = ("chosen", "rejected", "prompt")
KINDS = ("phrase", "regex", "best words")
WAYS = ("phrase", *(f"{kind} in {column}" for kind in KINDS for column in COLUMNS))
BEST = (50, 200, 1_000, 5_000, 20_000)  # pairs that answer some words best
HELP = (
    "phrase: as it stands, whatever its case · regex: a regular expression (RE2) · best words: "
    "the pairs that answer the words best, by BM25"
)


def anywhere(phrase: str) -> Recipe:
    """Pairs of which any text contains a phrase, whatever its case."""
    return AnyOf(parts=tuple(Contains(column=one, phrase=phrase) for one in COLUMNS))


def choose(text: DeltaGenerator, way: DeltaGenerator) -> Recipe | None:
    """What is searched for, and how; None where nothing is."""
    said = text.text_input("Search", key="phrase", bind="query-params", help=HELP)
    how = way.selectbox("as a", list(WAYS), key="how", bind="query-params")
    kind, _, column = str(how).partition(" in ")
    best = BEST[1]
    if kind == "best words":
        best = way.selectbox("How many pairs", list(BEST), 1, key="best", bind="query-params")
    if not said:
        return None
    if how == WAYS[0]:
        return anywhere(said)
    if kind == "phrase":
        return Contains(column=column, phrase=said)
    if kind == "regex":
        return Matches(column=column, pattern=said)
    return BestWords(column=column, query=said, k=best)
