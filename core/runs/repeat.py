"""Make a run again elsewhere, from nothing but its spec.json and those of its inputs."""

from collections.abc import Callable

from core.errors import UserError
from core.runs.execution import inputs
from core.runs.identity import Spec
from core.runs.store import Store


def repeat(store: Store, run: str, execute: Callable[[Spec], str]) -> str:
    """Execute a recorded run and, before it, every run that it reads. Returns the new id.

    `execute` works in another store. Ids are names of content, so the new id equals the old one.
    `UserError` where it cannot be: a file behind the spec has changed, or the knobs have.
    """
    spec = store.spec(run)
    _check_unchanged(store, run, spec)
    for needed in inputs(spec):
        repeat(store, needed, execute)
    return execute(spec)


def _check_unchanged(store: Store, run: str, spec: Spec) -> None:
    """Before anything is computed: what the spec names must be what it named then."""
    then, now = store.record(run)["contents"], store.contents(spec)
    changed = [name for name in now if now[name] != then.get(name)]
    if changed:
        paths = ", ".join(f"{name} ({getattr(spec, name)})" for name in changed)
        raise UserError(f"{run} cannot be repeated: changed since: {paths}.")
    if store.run_id(spec) != run:
        commit = store.record(run)["provenance"]["git_commit"]
        raise UserError(
            f"{run} cannot be repeated by this version of PairTrace, which knows other knobs. "
            f"It was made by commit {commit}."
        )
