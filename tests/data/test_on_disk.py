"""Pairs on disk by column and by row: the same as `read_pairs`, whatever the file."""

import numpy as np
import pandas as pd
import pytest

from core.data.on_disk import open_columns
from core.data.pairs import read_pairs

ROWS = pd.DataFrame(
    {
        "uid": [f"u{i}" for i in range(9)],
        "prompt": ["ask"] * 9,
        "chosen": [f"yes {i}" for i in range(8)] + [""],  # the last row is not usable
        "rejected": ["no"] * 9,
        "source": ["a", "b", "c"] * 3,
        "score": [float(i) for i in range(9)],
        "flag": [True, None, False] * 3,
    }
)


@pytest.fixture(params=["pairs.parquet", "pairs.jsonl"])
def path(tmp_path, request):
    path = tmp_path / request.param
    if path.suffix == ".parquet":
        ROWS.to_parquet(path)
    else:
        ROWS.to_json(path, orient="records", lines=True)
    return path


def test_columns_are_those_that_read_pairs_gives(path, tmp_path):
    columns = open_columns(path, tmp_path / "cache")
    expected = read_pairs(path).pairs
    assert list(columns) == list(expected)
    assert len(columns) == len(expected) == 8
    for name in expected:
        assert columns[name].tolist() == expected[name].tolist() or name == "flag"
    assert columns["flag"].isna().sum() == 3


def test_rows_come_in_the_order_asked_for(path, tmp_path):
    columns = open_columns(path, tmp_path / "cache")
    rows = columns.rows(columns.positions(["u7", "u2"]))
    assert rows["chosen"].tolist() == ["yes 7", "yes 2"]
    assert list(rows.index) == ["u7", "u2"]
    assert columns.rows(np.array([], int)).empty


def test_unknown_uids_have_no_position(path, tmp_path):
    assert list(open_columns(path, tmp_path / "cache").positions(["u1", "gone"])) == [1, -1]


def test_a_changed_file_is_read_again(path, tmp_path):
    open_columns(path, tmp_path / "cache")
    ROWS.head(3).to_parquet(tmp_path / "other.parquet")
    if path.suffix == ".parquet":
        (tmp_path / "other.parquet").replace(path)
    else:
        ROWS.head(3).to_json(path, orient="records", lines=True)
    assert len(open_columns(path, tmp_path / "cache")) == 3


def test_columns_that_sort_pairs_into_kinds_and_columns_of_numbers(path, tmp_path):
    columns = open_columns(path, tmp_path / "cache")
    assert columns.few_valued(3) == ["source", "flag"]
    assert columns.numeric() == ["score"]
