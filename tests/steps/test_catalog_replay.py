"""The log of decisions is enough to make the exported dataset again, byte for byte."""

import sqlite3

import pandas as pd
import pytest

from core.report.export import export_pairs
from core.runs.execute import execute
from core.runs.store import Store
from core.specs.recipes import Contains, Edit, EditSpec, NoneOf, Where
from core.workspace.catalog import Catalog

FLIP = Edit(action="flip", recipe=Contains(column="chosen", phrase="sure"), why="mislabelled")
REMOVE = Edit(action="remove", recipe=Where(column="source", values=("chat",)), why="noise")
KEEP = Edit(action="keep", recipe=NoneOf(parts=(Where(column="uid", values=("u1", "u4", "u7")),)))


@pytest.fixture
def pairs(tmp_path):
    rows = [
        {"uid": f"u{i}", "prompt": f"=p{i}", "chosen": "sure, é\n" if i % 2 else "no"}
        | {"rejected": "no" if i % 2 else "sure", "source": "chat" if i % 4 == 0 else "safety"}
        for i in range(12)
    ]
    path = tmp_path / "pairs.parquet"
    pd.DataFrame(rows).to_parquet(path)
    return str(path)


def exported(workspace, pairs, form, out):
    """From the replayed cart of a workspace to a file."""
    cart = Catalog(workspace).state().cart
    spec = EditSpec(pairs=pairs, edits=tuple(entry.edit for entry in cart))
    return export_pairs(Store(workspace), execute(spec, Store(workspace)), out, form=form)


@pytest.mark.parametrize("form", ["parquet", "jsonl", "csv", "datasets"])
def test_replaying_the_catalog_from_empty_exports_the_same_bytes(tmp_path, pairs, form):
    first, again = tmp_path / "first", tmp_path / "again"
    catalog = Catalog(first)
    catalog.add(KEEP, who="ann")
    dropped = catalog.add(REMOVE.model_copy(update={"why": "a mistake"}), who="ben")
    catalog.add(FLIP, who="ben")
    catalog.remove(dropped.id, who="ann")
    catalog.add(REMOVE, who="ann")
    made = exported(first, pairs, form, tmp_path / f"made.{form}")
    again.mkdir()
    with sqlite3.connect(first / "catalog.sqlite") as old:  # nothing but the log goes along
        rows = old.execute("SELECT id, time, who, why, change FROM events").fetchall()
    Catalog(again)
    with sqlite3.connect(again / "catalog.sqlite") as new:
        new.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", rows)
    replayed = exported(again, pairs, form, tmp_path / f"replayed.{form}")
    files = (
        [made, replayed] if made.is_file() else [next(p.glob("data/*")) for p in (made, replayed)]
    )
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_card_of_a_dataset_says_who_edited_it_and_why(tmp_path, pairs):
    catalog = Catalog(tmp_path / "workspace")
    catalog.add(FLIP, who="ann")
    catalog.add(REMOVE, who="ben")
    folder = exported(tmp_path / "workspace", pairs, "datasets", tmp_path / "out")
    card = (folder / "README.md").read_text()
    for words in ("ann", "ben", "mislabelled", "noise"):
        assert words in card
