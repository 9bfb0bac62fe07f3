"""The pairs behind an index run, from the copy on disk that steps and pages share."""

from core.data.pair_table import PairColumns, open_columns
from core.runs.store import Store
from core.specs.steps import IndexSpec


def indexed_pairs(index: str, store: Store) -> PairColumns:
    """The pairs' file that an index run read, column by column."""
    spec = store.spec(index)
    assert isinstance(spec, IndexSpec)
    return open_columns(store.pairs(spec.pairs), store.workspace / "cache")
