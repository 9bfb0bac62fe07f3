"""Make a run again elsewhere, from nothing but its spec.json and those of its inputs."""

from collections.abc import Callable

from core.errors import UserError
from core.runs.execution import inputs
from core.runs.specs import Spec
from core.runs.store import Store


def repeat(store: Store, run: str, execute: Callable[[Spec], str]) -> str:
    """Execute a recorded run and, before it, every run that it reads. Returns the new id.

    `execute` works in another store. Ids are names of content, so the new id equals the old one;
    `UserError` where it does not: a file behind the spec has changed since.
    """
    spec = store.spec(run)
    for needed in inputs(spec):
        repeat(store, needed, execute)
    made = execute(spec)
    if made != run:
        changed = "a model, pairs or prompts file behind it has changed since"
        raise UserError(f"{run} cannot be repeated: {changed}. The same spec now gives {made}.")
    return made
