"""The same edit at several sizes: does more of it do more, and when is it enough?

Only recipes that name a number of pairs have a size: the top k of a ranking. A size is that k
times a factor; everything else about the edit stays. Knows nothing of training.
"""

from collections.abc import Mapping, Sequence

from core.errors import UserError
from core.specs.recipes import AllOf, AnyOf, Edit, NoneOf, Recipe, TopK

FACTORS = (0.25, 0.5, 1.0, 2.0)


def ladder(edits: Sequence[Edit], factors: Sequence[float] = FACTORS) -> list[tuple[Edit, ...]]:
    """The edits at every size, smallest first; sizes that round to the same k only once.

    Raises `UserError` where no recipe has a size.
    """
    if not total_k(edits):
        raise UserError("Several sizes need a recipe with a number of pairs: a ranking's top k.")
    steps = [scaled(edits, factor) for factor in sorted(factors)]
    return list(dict.fromkeys(steps))


def scaled(edits: Sequence[Edit], factor: float) -> tuple[Edit, ...]:
    """The edits with every top k times `factor`, rounded, at least one pair."""
    return tuple(edit.model_copy(update={"recipe": _scaled(edit.recipe, factor)}) for edit in edits)


def total_k(edits: Sequence[Edit]) -> int:
    """The sum of every top k, which orders the sizes of one edit; 0 where there is none."""
    return sum(_k(edit.recipe) for edit in edits)


def shape(edits: Sequence[Edit]) -> tuple[Edit, ...]:
    """What the sizes of one edit have in common: the edit with every k as 1, reasons left out."""
    return tuple(edit.model_copy(update={"why": ""}) for edit in scaled(edits, 0.0))


def siblings(edits: Mapping[str, Sequence[Edit]], run: str) -> dict[str, int]:
    """Of edit runs with their edits, those that are one edit at several sizes: run → size."""
    wanted = shape(edits[run])
    return {other: total_k(own) for other, own in edits.items() if shape(own) == wanted}


def _scaled(recipe: Recipe, factor: float) -> Recipe:
    if isinstance(recipe, TopK):
        return recipe.model_copy(update={"k": max(1, round(recipe.k * factor))})
    if isinstance(recipe, AllOf | AnyOf | NoneOf):
        parts = tuple(_scaled(part, factor) for part in recipe.parts)
        return recipe.model_copy(update={"parts": parts})
    return recipe


def _k(recipe: Recipe) -> int:
    if isinstance(recipe, TopK):
        return recipe.k
    parts = recipe.parts if isinstance(recipe, AllOf | AnyOf | NoneOf) else ()
    return sum(_k(part) for part in parts)
