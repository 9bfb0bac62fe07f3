"""The pairs behind an index run, from the copy on disk that steps and pages share."""

from core.data.on_disk import PairColumns, open_columns
from core.runs.specs import IndexSpec
from core.runs.store import Store


def indexed_pairs(index: str, store: Store) -> PairColumns:
    """The pairs' file that an index run read, column by column."""
    spec = store.spec(index)
    assert isinstance(spec, IndexSpec)
    return open_columns(store.pairs(spec.pairs), store.workspace / "cache")
